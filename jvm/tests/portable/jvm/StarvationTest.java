package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Processes without descriptors or memory to spare. */
class StarvationTest {
    private static final int LIMIT = 64;

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void acceptingPausesAndGoesOnWhenThereAreDescriptorsAgain() throws Exception {
        Process child = start("ulimit -n " + LIMIT + " && exec", Descriptors.class);
        List<Socket> sockets = new ArrayList<>();
        try (BufferedReader told = child.inputReader()) {
            int port = Integer.parseInt(told.readLine());
            for (int i = 0; i < LIMIT; i++) {
                sockets.add(new Socket(InetAddress.getByName("127.0.0.1"), port));
            }
            assertEquals("STARVED EMFILE", told.readLine());
            assertEquals("quiet", told.readLine());
            assertEquals("connect EMFILE", told.readLine());
            assertEquals("no other selector", told.readLine());
            assertEquals("accepted again", told.readLine());
        } finally {
            child.destroyForcibly();
            for (Socket socket : sockets) {
                socket.close();
            }
        }
    }

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void slowReadersNeedNoMemory() throws Exception {
        Process child = start("exec", Memory.class, "-XX:MaxDirectMemorySize=2m");
        try (BufferedReader told = child.inputReader()) {
            assertEquals(Memory.READERS + " full", told.readLine());
            assertEquals("pong", told.readLine());
        } finally {
            child.destroyForcibly();
        }
    }

    private static Process start(String how, Class<?> program, String... options) throws IOException {
        List<String> command = new ArrayList<>(List.of("sh", "-c", how + " \"$@\"", "sh"));
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("-XX:-UsePerfData");
        command.addAll(List.of(options));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), program.getName()));
        return new ProcessBuilder(command).redirectErrorStream(true).start();
    }

    /** A process with little memory outside the heap, and many peers that do not read. */
    static final class Memory {
        static final int READERS = 40;

        public static void main(String[] arguments) throws IOException {
            List<Socket> slow = new ArrayList<>();
            try (Loop loop = Loop.open()) {
                int listener = loop.listen();
                for (int i = 0; i < READERS; i++) {
                    slow.add(loop.dial(listener));
                    int id = loop.accepted();
                    do {
                        loop.write(id, new byte[512 * 1024]).poll(0);
                    } while (loop.refused == 0);
                }
                System.out.println(loop.pump.connections() + " full");
                try (Socket other = loop.dial(listener)) {
                    loop.write(loop.accepted(), Loop.bytes("pong")).poll(0);
                    System.out.println(new String(other.getInputStream().readNBytes(4)));
                }
            }
            for (Socket socket : slow) {
                socket.close();
            }
        }
    }

    /** A process that runs out of descriptors. */
    static final class Descriptors {
        private static boolean broken;

        private static void select(Selector selector, Consumer<SelectionKey> action, int timeout)
                throws IOException {
            if (!broken) {
                PumpSelector.selectFor(selector, action, timeout);
            }
        }

        public static void main(String[] arguments) throws IOException {
            Pump pump = new Pump(4096, 512 * 1024, 8192, 1024 * 1024, Descriptors::select);
            try (Loop loop = new Loop(pump)) {
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
                broken = true;
                for (int i = 0; i < 2 * PumpSelector.MOST_PREMATURE; i++) {
                    pump.poll(-1, 0);
                }
                broken = false;
                System.out.println(pump.selector.rebuilds() == 0 ? "no other selector" : "rebuilt");
                for (Loop.Event event : List.copyOf(loop.events)) {
                    if (event.kind() == EventBuffer.ACCEPTED) {
                        loop.op(OperationBuffer.ABORT, event.id());
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
