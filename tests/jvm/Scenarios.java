import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import portable.jvm.PortableException;
import portable.jvm.PortableServer;
import portable.jvm.ServerStatus;

/** What the tests have a Java host do; each prints lines of "name value". */
public final class Scenarios {
    public static void main(String[] a) throws Exception {
        Path tap = Path.of(a[1]);
        switch (a[0]) {
            case "cycles" -> cycles(tap, Integer.parseInt(a[2]));
            case "two" -> two(tap, Path.of(a[2]));
            case "drain" -> drain(tap);
            case "forget" -> {
                PortableServer.load(tap).start();
                System.out.println("forgotten");
                if (a.length > 2) {
                    System.exit(Integer.parseInt(a[2]));
                }
            }
            case "stuck" -> {
                PortableServer server = PortableServer.load(tap).start();
                server.submit(() -> new CountDownLatch(1).await(1, TimeUnit.HOURS));
                System.exit(3);
            }
            case "error" -> error(tap);
            case "bean" -> bean(tap);
            case "ask" -> ask(tap);
            case "life" -> life(tap);
            case "exit" -> exit(tap, Path.of(a[2]));
            default -> throw new IllegalArgumentException(a[0]);
        }
    }

    static void say(String name, Object value) {
        System.out.println(name + " " + value);
    }

    static int port(PortableServer server) {
        String address = server.addresses().get(0);
        return Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
    }

    static Socket request(PortableServer server, String path) throws IOException {
        Socket socket = new Socket("127.0.0.1", port(server));
        String text = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.getOutputStream().write(text.getBytes(StandardCharsets.US_ASCII));
        return socket;
    }

    static String get(PortableServer server) throws IOException {
        try (Socket socket = request(server, "/index.html")) {
            String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            return answer.substring(answer.indexOf("\r\n\r\n") + 4).strip();
        }
    }

    static long[] measure() {
        for (int i = 0; i < 3; i++) {
            System.gc();
        }
        Runtime runtime = Runtime.getRuntime();
        return new long[] {
            ManagementFactory.getThreadMXBean().getThreadCount(),
            new java.io.File("/proc/self/fd").list().length,
            runtime.totalMemory() - runtime.freeMemory(),
            ManagementFactory.getPlatformMBeanServer().queryNames(null, null).size(),
            new java.io.File("/proc/self/task").list().length,
        };
    }

    /** Returns how many bytes of memory the process has. */
    static long resident() throws IOException {
        String statm = Files.readString(Path.of("/proc/self/statm"));
        return Long.parseLong(statm.split(" ")[1]) * 4096;
    }

    static void cycle(Path tap) throws Exception {
        try (PortableServer server = PortableServer.load(tap).start()) {
            if (!get(server).equals("hello")) {
                throw new AssertionError("no answer");
            }
        }
    }

    static void cycles(Path tap, int count) throws Exception {
        for (int i = 0; i < 10; i++) {
            cycle(tap);
        }
        long[] before = measure();
        List<String> resident = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            cycle(tap);
            if (i % 10 == 9) {
                System.gc();
                resident.add(String.valueOf(resident()));
            }
        }
        long[] after = measure();
        say("resident", String.join(" ", resident));
        String[] names = {"threads", "descriptors", "heap", "beans", "tasks"};
        for (int i = 0; i < names.length; i++) {
            say(names[i], after[i] - before[i]);
        }
    }

    static void two(Path tap, Path other) throws Exception {
        PortableServer first = PortableServer.load(tap);
        PortableServer second = PortableServer.load(other);
        CompletableFuture.allOf(first.startAsync(), second.startAsync()).get();
        say("first", get(first));
        say("second", get(second));
        first.stop(Duration.ZERO).get();
        say("second", get(second));
        say("states", first.status().state() + " " + second.status().state());
        second.close();
        say("beans", ManagementFactory.getPlatformMBeanServer()
                .queryNames(new ObjectName("portable.jvm:*"), null).size());
    }

    static void drain(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        Socket socket = request(server, "/big.bin");
        InputStream input = socket.getInputStream();
        long count = input.readNBytes(1000).length;
        CompletableFuture<Void> stopped =
                CompletableFuture.supplyAsync(() -> server.stop(Duration.ofSeconds(20))).get();
        while (server.status().state().name().equals("RUNNING")) {
            Thread.onSpinWait();
        }
        say("state", server.status().state());
        say("done", stopped.isDone());
        try (Socket late = new Socket("127.0.0.1", port(server))) {
            say("late", late.isConnected());
        } catch (IOException e) {
            say("late", "refused");
        }
        count += input.readAllBytes().length;
        socket.close();
        stopped.get(10, TimeUnit.SECONDS);
        say("received", count);
        ServerStatus last = server.status();
        say("state", last.state());
        say("accepted", last.accepted());
        say("sent", last.bytesSent() == count);
    }

    static void error(Path tap) {
        PortableServer server = PortableServer.load(tap);
        try {
            server.start();
            say("started", "");
        } catch (PortableException e) {
            say("type", e.pythonType());
            say("message", e.getMessage());
            say("cause", e.getCause().getClass().getName());
            System.out.println(e.pythonTraceback());
            e.printStackTrace(System.out);
        }
        say("state", server.status().state());
        say("ended", server.ended().isCompletedExceptionally());
    }

    static void bean(Path tap) throws Exception {
        long began = System.nanoTime();
        PortableServer server = PortableServer.load(tap).start();
        long start = System.nanoTime() - began;
        get(server);
        Socket open = new Socket("127.0.0.1", port(server));
        MBeanServer beans = ManagementFactory.getPlatformMBeanServer();
        ObjectName name = new ObjectName("portable.jvm:type=Server,name=web");
        while ((Long) beans.getAttribute(name, "Accepted") < 2) {
            Thread.onSpinWait();
        }
        for (String attribute : new String[] {"State", "Connections", "Accepted", "Refused"}) {
            say(attribute, beans.getAttribute(name, attribute));
        }
        say("Addresses", ((String[]) beans.getAttribute(name, "Addresses")).length);
        say("BytesReceived", (Long) beans.getAttribute(name, "BytesReceived") > 40);
        say("BytesSent", (Long) beans.getAttribute(name, "BytesSent") > 100);
        say("UptimeSeconds", (Double) beans.getAttribute(name, "UptimeSeconds") > 0);
        say("early", (Double) beans.getAttribute(name, "LoopLagSeconds") < start / 4e9);
        CompletableFuture<Object> slow = server.submit(() -> {
            Thread.sleep(3000);
            return null;
        });
        long before = System.nanoTime();
        String[] all = {"State", "Connections", "Accepted", "Refused", "BytesReceived", "BytesSent", "UptimeSeconds"};
        say("busy", beans.getAttributes(name, all).get(0));
        say("quick", System.nanoTime() - before < 1_500_000_000 && !slow.isDone());
        slow.get();
        double lag = (Double) beans.getAttribute(name, "LoopLagSeconds");
        say("lag", lag >= 0.7 && lag < 30);
        beans.invoke(name, "reload", new Object[0], new String[0]);
        beans.invoke(name, "stop", new Object[] {0.0}, new String[] {"double"});
        server.ended().get(10, TimeUnit.SECONDS);
        say("registered", beans.isRegistered(name));
        open.close();
    }

    static void failing(String name, CompletableFuture<?> future) throws Exception {
        try {
            say(name, future.get());
        } catch (ExecutionException e) {
            String more = e.getCause() instanceof PortableException p ? " " + p.pythonType() : "";
            say(name, e.getCause().getClass().getSimpleName() + more);
        }
    }

    static void ask(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap);
        failing("early", server.submit(() -> 1));
        server.start();
        say("thread", server.submit(() -> Thread.currentThread().getName()).get());
        failing("raised", server.submit(() -> {
            throw new IllegalStateException();
        }));
        failing("add", server.call("asked:add", 2, 3));
        failing("things", server.call("asked:things"));
        failing("later", server.call("asked:later"));
        failing("broken", server.call("asked:broken"));
        failing("nowhere", server.call("asked:nowhere"));
        failing("opaque", server.call("asked:opaque"));
        server.reload().get();
        CompletableFuture<Boolean> inside = server.submit(() -> {
            server.close();
            return true;
        });
        say("inside", inside.get());
        server.ended().get(20, TimeUnit.SECONDS);
        failing("late", server.submit(() -> 1));
    }

    /** Python code that would end the process does not. */
    static void exit(Path tap, Path broken) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        failing("called", server.call("leaving:now"));
        failing("later", server.call("leaving:later"));
        failing("interrupt", server.call("leaving:interrupt"));
        say("pages", page(server, "/now.rpy") + " " + page(server, "/later.rpy") + " " + page(server, "/index.html"));
        error(broken);
        say("running", server.status().state());
        server.close();
    }

    static String page(PortableServer server, String path) throws IOException {
        try (Socket socket = request(server, path)) {
            return new String(socket.getInputStream().readNBytes(12), StandardCharsets.US_ASCII).substring(9);
        }
    }

    static void life(Path tap) throws Exception {
        PortableServer never = PortableServer.load(tap);
        say("new", never.status().state());
        never.close();
        say("closed", never.status().state());
        PortableServer hasty = PortableServer.load(tap);
        CompletableFuture<PortableServer> starting = hasty.startAsync();
        hasty.stop(Duration.ZERO).get(20, TimeUnit.SECONDS);
        say("hasty", hasty.status().state());
        say("settled", starting.isDone());
        try {
            hasty.start();
        } catch (IllegalStateException e) {
            say("again", "refused");
        }
    }
}
