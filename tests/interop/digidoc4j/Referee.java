import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import org.digidoc4j.Configuration;
import org.digidoc4j.Container;
import org.digidoc4j.ContainerBuilder;
import org.digidoc4j.ContainerOpener;
import org.digidoc4j.ContainerValidationResult;
import org.digidoc4j.DataToSign;
import org.digidoc4j.DigestAlgorithm;
import org.digidoc4j.Signature;
import org.digidoc4j.SignatureBuilder;
import org.digidoc4j.SignatureProfile;
import org.digidoc4j.TSLCertificateSource;
import org.digidoc4j.exceptions.DigiDoc4JException;
import org.digidoc4j.impl.asic.tsl.TSLCertificateSourceImpl;
import org.digidoc4j.signers.PKCS12SignatureToken;

/**
 * A referee that is not ours. Usage:
 *   validate CONTAINER:… ANCHOR.pem…            prints "valid" or "invalid" and what is wrong, for each
 *   validate-by-list CONTAINER:… LOTL-URL TRUSTSTORE.p12 PASSWORD   the same, trusting what a list of lists leads to
 *   sign FILE P12 PASSWORD BASE OUTPUT ANCHOR.pem…   makes a container of level LT with the services at BASE
 */
public class Referee {
    static Configuration configuration(String[] arguments, int from) throws Exception {
        Configuration configuration = new Configuration(Configuration.Mode.TEST);
        TSLCertificateSourceImpl anchors = new TSLCertificateSourceImpl();
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (int i = from; i < arguments.length; i++) {
            try (InputStream file = new FileInputStream(arguments[i])) {
                anchors.addTSLCertificate((X509Certificate) factory.generateCertificate(file));
            }
        }
        configuration.setTSL(anchors);
        return configuration;
    }

    public static void main(String[] arguments) {
        int code = 0;
        try {
            run(arguments);
        } catch (Exception error) {
            error.printStackTrace();
            code = 1;
        }
        System.out.flush();
        System.exit(code); // the library leaves threads running
    }

    static Configuration listConfiguration(String[] arguments) throws Exception {
        Configuration configuration = new Configuration(Configuration.Mode.TEST);
        configuration.setLotlLocation(arguments[2]);
        configuration.setLotlTruststorePath(arguments[3]);
        configuration.setLotlTruststoreType("PKCS12");
        configuration.setLotlTruststorePassword(arguments[4]);
        configuration.setLotlPivotSupportEnabled(false);
        configuration.setTrustedTerritories("EE");
        configuration.setTslCacheExpirationTime(0);
        TSLCertificateSource source = configuration.getTSL();
        try {
            source.refresh();
            System.out.println("listed " + source.getNumberOfCertificates());
        } catch (DigiDoc4JException refused) {
            Throwable cause = refused;
            while (cause.getCause() != null) cause = cause.getCause();
            System.out.println("refused " + cause.getMessage());
            return null; // without a list the library does not open a container at all
        }
        return configuration;
    }

    static void run(String[] arguments) throws Exception {
        if (arguments[0].startsWith("validate")) {
            boolean byList = arguments[0].equals("validate-by-list");
            Configuration configuration = byList ? listConfiguration(arguments) : configuration(arguments, 2);
            if (configuration == null) return;
            for (String path : arguments[1].split(File.pathSeparator)) {
                Container container = ContainerOpener.open(path, configuration);
                ContainerValidationResult result = container.validate();
                System.out.println("container " + path);
                System.out.println(result.isValid() ? "valid" : "invalid");
                for (Signature signature : container.getSignatures()) {
                    System.out.println("profile " + signature.getProfile());
                }
                for (Exception error : result.getErrors()) System.out.println("error " + error.getMessage());
            }
            return;
        }
        Configuration configuration = configuration(arguments, 6);
        configuration.setTspSource(arguments[4] + "/tsa");
        configuration.setOcspSource(arguments[4] + "/ocsp");
        configuration.setPreferAiaOcsp(false);
        configuration.setSignOCSPRequests(false);
        Container container =
            ContainerBuilder.aContainer(Container.DocumentType.ASICE)
                .withConfiguration(configuration)
                .withDataFile(arguments[1], "text/plain")
                .build();
        PKCS12SignatureToken token = new PKCS12SignatureToken(arguments[2], arguments[3].toCharArray());
        DataToSign toSign =
            SignatureBuilder.aSignature(container)
                .withSigningCertificate(token.getCertificate())
                .withSignatureProfile(SignatureProfile.LT)
                .withSignatureDigestAlgorithm(DigestAlgorithm.SHA384)
                .buildDataToSign();
        byte[] value = token.sign(toSign.getDigestAlgorithm(), toSign.getDataToSign());
        container.addSignature(toSign.finalize(value));
        container.saveAsFile(arguments[5]);
        System.out.println("signed");
    }
}
