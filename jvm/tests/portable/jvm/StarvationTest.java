package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** A process without descriptors to spare. */
class StarvationTest {
    private static final int LIMIT = 64;

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void acceptingPausesAndGoesOnWhenThereAreDescriptorsAgain() throws Exception {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        String command = "ulimit -n " + LIMIT + " && exec \"$0\" -XX:-UsePerfData -cp \"$1\" \"$2\"";
        Process child =
                new ProcessBuilder(
                                "sh",
                                "-c",
                                command,
                                java,
                                System.getProperty("java.class.path"),
                                Child.class.getName())
                        .redirectErrorStream(true)
                        .start();
        List<Socket> sockets = new ArrayList<>();
        try (BufferedReader told = child.inputReader()) {
            int port = Integer.parseInt(told.readLine());
            for (int i = 0; i < LIMIT; i++) {
                sockets.add(new Socket(InetAddress.getByName("127.0.0.1"), port));
            }
            assertEquals("STARVED EMFILE", told.readLine());
            assertEquals("quiet", told.readLine());
            assertEquals("connect EMFILE", told.readLine());
            assertEquals("accepted again", told.readLine());
        } finally {
            child.destroyForcibly();
            for (Socket socket : sockets) {
                socket.close();
            }
        }
    }

    /** The process that runs out. */
    static final class Child {
        public static void main(String[] arguments) throws IOException {
            try (Loop loop = Loop.open()) {
                int listener = loop.pump.listenTcp("127.0.0.1", 0, 2 * LIMIT, false);
                loop.pump.resumeAccepting(listener);
                System.out.println(loop.port(listener));
                System.out.println("STARVED " + loop.await(EventBuffer.STARVED, listener).text());
                System.out.println(loop.poll(50).isEmpty() ? "quiet" : loop.describe());
                try {
                    // Now and then Java itself opens a file for a moment, and one more fits afterwards.
                    for (int i = 0; i < LIMIT; i++) {
                        loop.pump.connectTcp("127.0.0.1", loop.port(listener), "");
                    }
                } catch (PumpException e) {
                    System.out.println("connect " + e.code());
                }
                for (Loop.Event event : List.copyOf(loop.events)) {
                    if (event.kind() == EventBuffer.ACCEPTED) {
                        loop.op(Pump.ABORT, event.id());
                    }
                }
                loop.poll(0);
                loop.pump.resumeAccepting(listener);
                loop.accepted();
                System.out.println("accepted again");
            }
        }
    }
}
