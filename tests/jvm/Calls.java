import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import portable.jvm.PortableServer;

/** What becomes of what a Java host asks of its server; each prints lines of "name value". */
public final class Calls {
    public static void main(String[] a) throws Exception {
        Path tap = Path.of(a[1]);
        switch (a[0]) {
            case "pending" -> pending(tap);
            case "stack" -> stack(tap);
            default -> throw new IllegalArgumentException(a[0]);
        }
    }

    static void say(String name, Object value) {
        System.out.println(name + " " + value);
    }

    static void told(String name, CompletableFuture<?> future) throws Exception {
        try {
            say(name, future.get(10, TimeUnit.SECONDS));
        } catch (ExecutionException e) {
            say(name, e.getCause().getMessage());
        }
    }

    static void stack(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        for (String name : new String[] {"fail_in_java", "fail_in_java_later", "fail"}) {
            try {
                server.call("called:" + name).get();
            } catch (ExecutionException e) {
                say("cause", e.getCause().getCause().getClass().getName());
                e.getCause().printStackTrace(System.out);
            }
            System.out.println("----");
        }
        server.close();
    }

    static void pending(Path tap) throws Exception {
        PortableServer stopped = PortableServer.load(tap).start();
        CompletableFuture<Object> never = stopped.call("called:never");
        told("running", stopped.call("called:answer"));
        stopped.stop(Duration.ZERO).get(10, TimeUnit.SECONDS);
        told("stopped", never);

        PortableServer failed = PortableServer.load(tap).start();
        never = failed.call("called:never");
        told("interrupt", failed.call("called:interrupt_the_loop"));
        told("failed", never);
        told("ended", failed.ended());
        say("state", failed.status().state());
    }
}
