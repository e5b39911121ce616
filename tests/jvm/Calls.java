import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import portable.jvm.LogSink;
import portable.jvm.PortableException;
import portable.jvm.PortableServer;

/** What becomes of what a Java host asks of its server; each prints lines of "name value". */
public final class Calls {
    public static void main(String[] a) throws Exception {
        Path tap = Path.of(a[1]);
        switch (a[0]) {
            case "pending" -> pending(tap);
            case "stack" -> stack(tap);
            case "cancel" -> cancel(tap);
            case "faults" -> faults(tap, a[2], a[3]);
            case "flood" -> flood(tap);
            case "continue" -> continuations(tap);
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

    static void cancel(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        CountDownLatch cancelled = new CountDownLatch(1);
        server.submit(() -> cancelled.await(10, TimeUnit.SECONDS));
        CompletableFuture<Object> call = server.call("called:count");
        CompletableFuture<Object> submitted = server.submit(() -> {
            say("submitted", "runs");
            return null;
        });
        say("call", call.cancel(true));
        say("submit", submitted.cancel(true));
        cancelled.countDown();
        told("count", server.call("called:count"));
        server.close();
    }

    /** What a program may do wrong, or unexpectedly. */
    static void faults(Path tap, String python, String noisy) throws Exception {
        try {
            PortableServer.load(Path.of("/")).start();
        } catch (PortableException e) {
            say("root", e.pythonType());
        }
        PortableServer closed = PortableServer.load(tap);
        closed.close();
        try {
            closed.start();
        } catch (IllegalStateException e) {
            say("closed", e.getMessage());
        }
        Duration forever = ChronoUnit.FOREVER.getDuration();
        LogSink broken = (level, logger, message) -> {
            throw new AssertionError("the log is full");
        };
        PortableServer.Builder options = PortableServer.builder(tap).log(broken).drain(forever);
        PortableServer first = options.python(Path.of(python)).build().start();
        say("log", first.status().state());
        PortableServer second = options.python(Path.of(noisy)).build().start();
        say("python", second.status().state());
        first.stop(forever).get(20, TimeUnit.SECONDS);
        second.close();
        say("states", first.status().state() + " " + second.status().state());
    }

    /** What hangs on an answer may wait for another one. */
    static void continuations(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        CountDownLatch hung = new CountDownLatch(1);
        CompletableFuture<Boolean> first = server.submit(() -> hung.await(10, TimeUnit.SECONDS));
        CompletableFuture<Object> second = server.call("called:answer");
        CompletableFuture<Object> third = server.call("called:fail");
        CompletableFuture<Object> last = server.call("called:never");
        CompletableFuture<?>[] hanging = {
            first.thenApply(value -> server.submit(() -> "submitted").join()),
            second.thenApply(value -> server.call("called:answer").join()),
            third.handle((value, error) -> server.call("called:answer").join()),
            server.reload().thenApply(nothing -> server.reload().join()),
            last.handle((value, error) -> server.ended().join()),
        };
        hung.countDown();
        for (int i = 0; i < hanging.length - 1; i++) {
            told(String.valueOf(i), hanging[i]);
        }
        CompletableFuture<Void> end = server.ended();
        CountDownLatch told = new CountDownLatch(1);
        CompletableFuture<String> where = server.ended().thenApply(nothing -> {
            try {
                told.await(10, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            return Thread.currentThread().getName();
        });
        server.stop(Duration.ZERO);
        told("last", hanging[hanging.length - 1]);
        told("end", end);
        told.countDown();
        say("elsewhere", !where.get().equals("portable-web"));
        say("state", server.status().state());
    }

    /** A task that submits itself again, each time, must not keep the loop from its sockets. */
    static void flood(Path tap) throws Exception {
        PortableServer server = PortableServer.load(tap).start();
        AtomicBoolean on = new AtomicBoolean(true);
        Callable<Object> task = new Callable<>() {
            @Override
            public Object call() {
                return on.get() ? server.submit(this) : null;
            }
        };
        server.submit(task);
        told("served", CompletableFuture.supplyAsync(() -> {
            try {
                return Scenarios.get(server);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }));
        on.set(false);
        server.close();
        say("state", server.status().state());
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
