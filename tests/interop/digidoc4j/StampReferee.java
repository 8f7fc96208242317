import org.digidoc4j.Configuration;
import org.digidoc4j.Container;
import org.digidoc4j.ContainerBuilder;
import org.digidoc4j.TimestampBuilder;

/**
 * digidoc4j stamping. Usage:
 *   OUTPUT TSA COUNT FILE ANCHOR.pem…   makes an ASiC-S container with COUNT time-stamps
 */
public class StampReferee {
    public static void main(String[] arguments) {
        int code = 0;
        try {
            Configuration configuration = Referee.configuration(arguments, 4);
            configuration.setTspSource(arguments[1]);
            configuration.setTspSourceForArchiveTimestamps(arguments[1]);
            Container container =
                ContainerBuilder.aContainer(Container.DocumentType.ASICS)
                    .withConfiguration(configuration)
                    .withDataFile(arguments[3], "application/octet-stream")
                    .build();
            for (int i = 0; i < Integer.parseInt(arguments[2]); i++) {
                container.addTimestamp(TimestampBuilder.aTimestamp(container).invokeTimestamping());
            }
            container.saveAsFile(arguments[0]);
            System.out.println("stamped");
        } catch (Throwable error) {
            error.printStackTrace();
            code = 1;
        }
        System.out.flush();
        System.exit(code);
    }
}
