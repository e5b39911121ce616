import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.time.Duration;
import portable.jvm.PortableException;
import portable.jvm.PortableServer;
import portable.jvm.ServerStatus;

/**
 * A Java program that runs servers of Portable beside its own work: here, a person at the console.
 *
 * <pre>
 * javac -cp portable-jvm.jar WebHost.java
 * java -cp portable-jvm.jar:jep-4.3.2.jar:. WebHost web.tap
 * </pre>
 */
public final class WebHost {
    private WebHost() {}

    /**
     * Serves until the console says "stop" or ends.
     *
     * @param arguments the .tap file
     * @throws IOException the console cannot be read
     */
    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 1) {
            System.err.println("usage: WebHost FILE.tap");
            System.exit(2);
        }
        PortableServer server = PortableServer.builder(Path.of(arguments[0]))
                .drain(Duration.ofSeconds(5))
                .log((level, logger, message) -> System.out.println("log: " + message))
                .build();
        // However this block is left, the server has stopped then.
        try (server) {
            server.start();
            server.addresses().forEach(address -> System.out.println("address: " + address));
            BufferedReader console = new BufferedReader(new InputStreamReader(System.in));
            for (String line = console.readLine(); line != null; line = console.readLine()) {
                switch (line) {
                    case "status" -> print(server.status());
                    case "stop" -> {
                        return;
                    }
                    default -> System.out.println("status or stop?");
                }
            }
        } catch (PortableException e) {
            System.err.println("it does not start: " + e.getMessage());
            System.err.println(e.pythonTraceback());
            System.exit(1);
        }
    }

    private static void print(ServerStatus status) {
        System.out.printf(
                "status: %s, %d connections of %d, %d bytes sent, lag %d ms%n",
                status.state(), status.connections(), status.accepted(), status.bytesSent(),
                status.loopLag().toMillis());
    }
}
