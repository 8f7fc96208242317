import java.nio.file.*;
import javax.xml.parsers.DocumentBuilderFactory;
import org.apache.xml.security.Init;
import org.apache.xml.security.signature.*;
import org.apache.xml.security.utils.resolver.*;
import org.w3c.dom.*;

/** Verifies a message signature with Apache Santuario: arguments are the XML file and the folder with its parts. */
public class Verify {
    public static void main(String[] args) throws Exception {
        Init.init();
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        Document document = factory.newDocumentBuilder().parse(Files.newInputStream(Path.of(args[0])));
        NodeList all = document.getElementsByTagName("*");
        for (int i = 0; i < all.getLength(); i++) {
            Element element = (Element) all.item(i);
            if (element.hasAttribute("Id")) element.setIdAttribute("Id", true);
        }
        Element signature = (Element) document.getElementsByTagName("ds:Signature").item(0);
        XMLSignature read = new XMLSignature(signature, "");
        read.addResourceResolver(new Parts(Path.of(args[1])));
        System.out.println(read.checkSignatureValue(read.getKeyInfo().getX509Certificate()) ? "VALID" : "NOT VALID");
    }

    static class Parts extends ResourceResolverSpi {
        private final Path folder;
        Parts(Path folder) { this.folder = folder; }
        @Override public boolean engineCanResolveURI(ResourceResolverContext context) {
            return context.uriToResolve != null && context.uriToResolve.startsWith("/");
        }
        @Override public XMLSignatureInput engineResolveURI(ResourceResolverContext context)
                throws ResourceResolverException {
            try {
                return new XMLSignatureInput(Files.readAllBytes(folder.resolve(context.uriToResolve.substring(1))));
            } catch (java.io.IOException error) {
                throw new ResourceResolverException(error, context.uriToResolve, "", "");
            }
        }
    }
}
