import eu.europa.esig.dss.alert.SilentOnStatusAlert;
import eu.europa.esig.dss.asic.cades.ASiCWithCAdESSignatureParameters;
import eu.europa.esig.dss.asic.cades.signature.ASiCWithCAdESService;
import eu.europa.esig.dss.enumerations.ASiCContainerType;
import eu.europa.esig.dss.enumerations.DigestAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.SignatureValue;
import eu.europa.esig.dss.model.ToBeSigned;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.service.http.commons.OCSPDataLoader;
import eu.europa.esig.dss.service.http.commons.TimestampDataLoader;
import eu.europa.esig.dss.service.ocsp.OnlineOCSPSource;
import eu.europa.esig.dss.service.tsp.OnlineTSPSource;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.token.DSSPrivateKeyEntry;
import eu.europa.esig.dss.token.Pkcs12SignatureToken;
import java.io.File;
import java.security.KeyStore.PasswordProtection;
import java.util.ArrayList;
import java.util.List;

/**
 * DSS, the library of the European Commission that digidoc4j stands on, signing with CAdES. Usage:
 *   sign|again S|E LEVEL P12 PASSWORD TSA OUTPUT FILE:… ANCHOR.pem…   makes a container; again: extended once more
 */
public class CadesReferee {
    public static void main(String[] arguments) {
        int code = 0;
        try {
            run(arguments);
        } catch (Throwable error) {
            error.printStackTrace();
            code = 1;
        }
        System.out.flush();
        System.exit(code);
    }

    static void run(String[] a) throws Exception {
        CommonTrustedCertificateSource anchors = new CommonTrustedCertificateSource();
        for (int i = 8; i < a.length; i++) anchors.addCertificate(DSSUtils.loadCertificate(new File(a[i])));
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(anchors);
        verifier.setOcspSource(new OnlineOCSPSource(new OCSPDataLoader()));
        verifier.setAIASource(null);
        verifier.setAlertOnMissingRevocationData(new SilentOnStatusAlert());
        verifier.setAlertOnNoRevocationAfterBestSignatureTime(new SilentOnStatusAlert());
        verifier.setAlertOnUncoveredPOE(new SilentOnStatusAlert());

        ASiCWithCAdESService service = new ASiCWithCAdESService(verifier);
        OnlineTSPSource tsa = new OnlineTSPSource(a[5]);
        tsa.setDataLoader(new TimestampDataLoader());
        service.setTspSource(tsa);

        Pkcs12SignatureToken token = new Pkcs12SignatureToken(new File(a[3]), new PasswordProtection(a[4].toCharArray()));
        DSSPrivateKeyEntry key = token.getKeys().get(0);
        ASiCWithCAdESSignatureParameters parameters = new ASiCWithCAdESSignatureParameters();
        parameters.aSiC().setContainerType(a[1].equals("S") ? ASiCContainerType.ASiC_S : ASiCContainerType.ASiC_E);
        parameters.setSignatureLevel(SignatureLevel.valueByName("CAdES-BASELINE-" + a[2]));
        parameters.setDigestAlgorithm(DigestAlgorithm.SHA384);
        parameters.setSigningCertificate(key.getCertificate());
        parameters.setCertificateChain(new CertificateToken[] {key.getCertificate()});

        List<DSSDocument> files = new ArrayList<>();
        for (String path : a[7].split(File.pathSeparator)) files.add(new FileDocument(path));
        ToBeSigned data = service.getDataToSign(files, parameters);
        SignatureValue value = token.sign(data, DigestAlgorithm.SHA384, key);
        DSSDocument signed = service.signDocument(files, parameters, value);
        if (a[0].equals("again")) signed = service.extendDocument(signed, parameters);
        signed.save(a[6]);
        System.out.println("signed");
    }
}
