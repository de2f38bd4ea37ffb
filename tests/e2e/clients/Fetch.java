// Java's HttpClient behind a proxy that wants a password: an Authenticator, and the scheme list for tunnels emptied on the command line.
import java.net.*;
import java.net.http.*;

public class Fetch {
    public static void main(String[] args) throws Exception {
        String[] at = args[0].split(":"), who = args[1].split(":", 2);
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(at[0], Integer.parseInt(at[1]))))
            .authenticator(new Authenticator() {
                @Override protected PasswordAuthentication getPasswordAuthentication() {
                    return getRequestorType() == RequestorType.PROXY ? new PasswordAuthentication(who[0], who[1].toCharArray()) : null;
                }
            }).build();
        for (int i = 2; i < args.length; i++) {
            try {
                HttpResponse<String> r = client.send(HttpRequest.newBuilder(URI.create(args[i])).build(), HttpResponse.BodyHandlers.ofString());
                System.out.println(r.statusCode() + " " + r.body());
            } catch (Exception e) {
                System.out.println("error " + e);
            }
        }
        System.exit(0);
    }
}
