import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import org.digidoc4j.Configuration;
import org.digidoc4j.Container;
import org.digidoc4j.ContainerOpener;
import org.digidoc4j.impl.asic.tsl.TSLCertificateSourceImpl;

/**
 * Judges one container again and again: Bench CONTAINER ANCHOR.pem…
 * For each number N on a line of standard input it judges N times and prints the nanoseconds of one time.
 */
public class Bench {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration(Configuration.Mode.TEST);
        TSLCertificateSourceImpl anchors = new TSLCertificateSourceImpl();
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (int i = 1; i < arguments.length; i++) {
            try (InputStream file = new FileInputStream(arguments[i])) {
                anchors.addTSLCertificate((X509Certificate) factory.generateCertificate(file));
            }
        }
        configuration.setTSL(anchors);
        byte[] content = Files.readAllBytes(Paths.get(arguments[0]));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            int count = Integer.parseInt(line.trim());
            long begin = System.nanoTime();
            for (int i = 0; i < count; i++) {
                Container container = ContainerOpener.open(new ByteArrayInputStream(content), configuration);
                if (!container.validate().isValid()) {
                    System.out.println("not valid");
                    System.exit(1);
                }
            }
            System.out.println((System.nanoTime() - begin) / count);
            System.out.flush();
        }
        System.exit(0); // the library leaves threads running
    }
}
