package portable.jvm;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * The servers of one {@code .tap} file, run inside this Java process.
 *
 * <pre>{@code
 * try (PortableServer server = PortableServer.load(Path.of("web.tap")).start()) {
 *     System.out.println(server.addresses());
 *     ...
 * }
 * }</pre>
 *
 * <p>Every method may be called from any thread. A server has a thread of its own, in which its loop and all of its
 * Python code run; the thread is a daemon, and a hook stops the server when the process ends, so a program
 * that forgets to do so does not hang. A server runs once; make another to run it again. Any number of
 * them run at once; they share one Python, with its modules.
 *
 * <p>What a program hangs on the futures that it gets here ({@code thenApply} and the like) runs in another thread
 * than the loop's, and may wait for the server. What it has {@link #submit}ted must not.
 *
 * <p>The process's signals, standard streams and exit are the host program's affair and left alone.
 */
public final class PortableServer implements AutoCloseable {
    /** What a server gets beyond the time for its work in flight. */
    private static final Duration GRACE = Duration.ofSeconds(10);
    /** As good as for ever, and nothing that is computed with it overflows. */
    private static final Duration LONGEST = Duration.ofDays(10_000);

    private static final long STATUS_MILLIS = 500;

    private final Builder options;
    private final CompletableFuture<PortableServer> started = new CompletableFuture<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final Object lock = new Object();
    private final ProcessEntry entry;
    private ServerState state = ServerState.NEW;
    private List<String> addresses = List.of();
    private HostLoop loop;
    private Thread thread;
    private long startedAt;
    private long endedAt;
    private long lastLag;
    private Duration wantedStop;
    private Duration drain;
    private volatile long[] last = new long[5];

    private PortableServer(Builder options) {
        this.options = options;
        entry = new ProcessEntry(options.name, options.log);
    }

    /**
     * Makes a server with the usual options. Nothing is read before {@link #start}.
     *
     * @param tap the file, made by {@code mktap}
     * @return a new server
     */
    public static PortableServer load(Path tap) {
        return builder(tap).build();
    }

    /**
     * Begins to make a server with options.
     *
     * @param tap the file, made by {@code mktap}
     * @return a builder
     */
    public static Builder builder(Path tap) {
        return new Builder(tap);
    }

    /** The options of a server. */
    public static final class Builder {
        private final Path tap;
        private Path python;
        private final List<Path> folders = new ArrayList<>();
        private String name;
        private Duration drain;
        private LogSink log = PortableServer::logToSystem;
        private boolean debug;
        private boolean shutdownHook = true;

        private Builder(Path tap) {
            this.tap = tap.toAbsolutePath();
            String file = Objects.toString(this.tap.getFileName(), "server");
            this.name = file.endsWith(".tap") ? file.substring(0, file.length() - ".tap".length()) : file;
        }

        private Builder(Builder other) {
            tap = other.tap;
            python = other.python;
            folders.addAll(other.folders);
            name = other.name;
            drain = other.drain;
            log = other.log;
            debug = other.debug;
            shutdownHook = other.shutdownHook;
        }

        /**
         * Says which Python to run: the executable of a virtual environment, as a rule. Without it, it is
         * PORTABLE_PYTHON's in the environment, VIRTUAL_ENV's, or the python3 on PATH. The first server decides for
         * the whole process.
         *
         * @param executable such as {@code /srv/app/venv/bin/python}
         * @return this
         */
        public Builder python(Path executable) {
            python = Objects.requireNonNull(executable);
            return this;
        }

        /**
         * Adds a folder to those in which Python looks for modules: a checkout, or your own server kinds.
         *
         * @param folder that has the packages in it
         * @return this
         */
        public Builder modules(Path folder) {
            folders.add(folder.toAbsolutePath());
            return this;
        }

        /**
         * Gives the server a name, for its thread and its MBean. By default that of the file.
         *
         * @param text any
         * @return this
         */
        public Builder name(String text) {
            name = Objects.requireNonNull(text);
            return this;
        }

        /**
         * Says how long work in flight may take when the process ends or {@link #close} is called. By
         * default what the file says, or else 10 seconds.
         *
         * @param time zero for none
         * @return this
         */
        public Builder drain(Duration time) {
            drain = checked(time);
            return this;
        }

        /**
         * Says where log records go. By default to {@link System.Logger}s by the names of Python's.
         *
         * @param sink takes them
         * @return this
         */
        public Builder log(LogSink sink) {
            log = Objects.requireNonNull(sink);
            return this;
        }

        /**
         * Says whether to log debug messages and tracebacks of what went wrong.
         *
         * @param on false by default
         * @return this
         */
        public Builder debug(boolean on) {
            debug = on;
            return this;
        }

        /**
         * Says whether the server stops by itself when the process ends.
         *
         * @param on true by default; false if the host's own hooks stop it
         * @return this
         */
        public Builder shutdownHook(boolean on) {
            shutdownHook = on;
            return this;
        }

        /**
         * Makes the server.
         *
         * @return a new one each time
         */
        public PortableServer build() {
            return new PortableServer(new Builder(this));
        }
    }

    private static void logToSystem(System.Logger.Level level, String logger, String message) {
        System.getLogger(logger).log(level, message);
    }

    private static Duration checked(Duration time) {
        if (time.isNegative()) {
            throw new IllegalArgumentException("a negative time: " + time);
        }
        return time.compareTo(LONGEST) > 0 ? LONGEST : time;
    }

    /**
     * Loads the file and binds every port, or none.
     *
     * @return this, once it accepts connections
     * @throws PortableException something is wrong with the file, a port is in use, there is no Python, ...
     */
    public PortableServer start() throws PortableException {
        try {
            return startAsync().get();
        } catch (ExecutionException e) {
            throw (PortableException) e.getCause();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            end(Duration.ZERO);
            throw new PortableException("interrupted while the server started; it is being stopped", e);
        }
    }

    /**
     * Begins to start.
     *
     * @return is completed with this once it accepts connections, or with a {@link PortableException}
     */
    public CompletableFuture<PortableServer> startAsync() {
        synchronized (lock) {
            if (state != ServerState.NEW) {
                throw new IllegalStateException(
                        thread == null ? "the server was closed" : "the server was started already, and is " + state);
            }
            state = ServerState.STARTING;
            thread = new Thread(this::run, "portable-" + options.name);
            thread.setDaemon(true);
            thread.start();
        }
        return started.copy();
    }

    /**
     * Returns what the server listens on.
     *
     * @return such as "web tcp 127.0.0.1:8080" each; empty before the start is complete
     */
    public List<String> addresses() {
        synchronized (lock) {
            return addresses;
        }
    }

    /**
     * Runs `task` in the loop's thread, between two turns of it. Nobody is served meanwhile.
     *
     * @param <T> what it returns
     * @param task anything quick
     * @return is completed with the result or the exception, or with a {@link PortableException} if the server
     *     does not run
     */
    public <T> CompletableFuture<T> submit(Callable<T> task) {
        HostRequest request = HostRequest.task(Objects.requireNonNull(task));
        @SuppressWarnings("unchecked") // it is what the task has returned
        CompletableFuture<T> result = (CompletableFuture<T>) request.result();
        ask(request);
        return result;
    }

    /**
     * Calls a function of Python's in the loop's thread, with the running service (portable.service.Service) as
     * the first argument.
     *
     * @param function "module:function"; may be a coroutine function, or return a Deferred
     * @param arguments more of them: texts, numbers, booleans, null
     * @return is completed with the result, made of texts, numbers, booleans, null, lists and maps, or with a {@link
     *     PortableException}
     */
    public CompletableFuture<Object> call(String function, Object... arguments) {
        return ask(HostRequest.function(Objects.requireNonNull(function), arguments));
    }

    /**
     * Reads certificates and the like again. One that cannot be read is logged, and the old one stays in use.
     *
     * @return is completed when that is done
     */
    public CompletableFuture<Void> reload() {
        return ask(HostRequest.simple("reload")).thenApply(nothing -> null);
    }

    /**
     * Returns what the server is doing. Should its loop be busy for half a second, the counters are those of the last
     * time somebody asked, and the lag tells why.
     *
     * @return a snapshot
     */
    public ServerStatus status() {
        if (Thread.currentThread() != thread() && (state() == ServerState.RUNNING || state() == ServerState.STOPPING)) {
            CompletableFuture<Object> asked = ask(HostRequest.simple("snapshot"));
            try {
                remember(asked.get(STATUS_MILLIS, TimeUnit.MILLISECONDS));
            } catch (ExecutionException | TimeoutException e) {
                asked.cancel(false);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        return known();
    }

    /** Returns what is known without asking the loop: the counters are those of the last time that somebody did. */
    ServerStatus known() {
        synchronized (lock) {
            long[] numbers = last;
            long lag = loop == null ? lastLag : loop.lag();
            long end = endedAt == 0 ? System.nanoTime() : endedAt;
            return new ServerStatus(
                    state, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4],
                    Duration.ofNanos(lag), Duration.ofNanos(startedAt == 0 ? 0 : end - startedAt));
        }
    }

    /**
     * Takes no new work, finishes the work in flight and ends. May be repeated with a shorter time.
     *
     * @param time for the work in flight; what is not done then is cut off. Zero ends at once; what its Python
     *     code does in other threads has five seconds even then.
     * @return is completed when the server's thread has given everything back. With a {@link PortableException} if
     *     the server fails, or failed, after its start.
     */
    public CompletableFuture<Void> stop(Duration time) {
        end(checked(time));
        return ended();
    }

    private void end(Duration limit) {
        HostLoop asked = null;
        synchronized (lock) {
            if (state == ServerState.NEW) {
                state = ServerState.STOPPED;
                ended.complete(null);
            } else if (state != ServerState.STOPPED && state != ServerState.FAILED) {
                if (loop == null) {
                    wantedStop = limit;
                } else {
                    asked = loop;
                }
            }
        }
        if (asked != null) {
            asked.add(HostRequest.stop(limit));
        }
    }

    /**
     * Returns what tells about the end.
     *
     * @return is completed when the server has ended, however that came, as {@link #stop}'s is
     */
    public CompletableFuture<Void> ended() {
        // What hangs on it runs in a thread of its own: not in the loop's, and not before what hangs on another.
        return ended.isDone() ? ended.copy() : ended.whenCompleteAsync((nothing, error) -> { });
    }

    /**
     * Stops, with the time that {@link Builder#drain} has set, and waits for it. Called in the server's own thread it
     * does not wait.
     */
    @Override
    public void close() {
        stopAsTold();
        if (Thread.currentThread() == thread()) {
            return;
        }
        try {
            ended.get();
        } catch (ExecutionException e) {
            // Whoever wants to know why it failed asks ended(); it is closed now.
            return;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            end(Duration.ZERO);
        }
    }

    private void stopAsTold() {
        boolean running;
        synchronized (lock) {
            running = loop != null;
        }
        if (options.drain != null) {
            end(options.drain);
        } else if (running) {
            ask(HostRequest.stop(null));
        } else {
            end(Duration.ofSeconds(10));
        }
    }

    private ServerState state() {
        synchronized (lock) {
            return state;
        }
    }

    private Thread thread() {
        synchronized (lock) {
            return thread;
        }
    }

    private CompletableFuture<Object> ask(HostRequest request) {
        HostLoop asked;
        synchronized (lock) {
            asked = loop;
        }
        if (asked == null) {
            request.refuse(new PortableException("the server does not run: it is " + state(), null));
        } else {
            asked.add(request);
        }
        return request.result();
    }

    private void remember(Object snapshot) {
        List<?> numbers = (List<?>) snapshot;
        long[] now = new long[last.length];
        for (int i = 0; i < now.length; i++) {
            now[i] = ((Number) numbers.get(i)).longValue();
        }
        last = now;
    }

    // The loop's thread.

    private void run() {
        PortableException failure = null;
        try {
            PythonRuntime.Interpreter python = PythonRuntime.get(options.python).open();
            try {
                serve(python);
            } finally {
                python.close();
            }
        } catch (PortableException e) {
            failure = e;
        } catch (Throwable e) {
            failure = new PortableException("the server failed: " + e, e);
        }
        finish(failure);
    }

    private void serve(PythonRuntime.Interpreter python) throws PortableException {
        HostLoop made;
        try {
            made = new HostLoop(options.log, new Listener());
        } catch (PumpException e) {
            throw new PortableException("no selector: " + e.getMessage(), e);
        }
        Duration wanted;
        synchronized (lock) {
            loop = made;
            wanted = wantedStop;
        }
        if (wanted != null) {
            made.add(HostRequest.stop(wanted));
        }
        try {
            python.serve(made, options.folders, options.tap, options.drain, options.debug);
        } catch (RuntimeException e) {
            throw made.failure(e);
        } finally {
            synchronized (lock) {
                lastLag = made.lag();
                loop = null;
            }
            remember(made.lastNumbers());
            made.close();
        }
    }

    private final class Listener implements HostLoop.Listener {
        @Override
        public void started(List<String> bound, Duration time) {
            synchronized (lock) {
                drain = checked(time);
                state = ServerState.RUNNING;
                addresses = bound;
                startedAt = System.nanoTime();
            }
            register();
            started.completeAsync(() -> PortableServer.this);
        }

        @Override
        public void stopping() {
            synchronized (lock) {
                if (state == ServerState.RUNNING) {
                    state = ServerState.STOPPING;
                }
            }
        }
    }

    private void finish(PortableException failure) {
        entry.remove();
        synchronized (lock) {
            state = failure == null ? ServerState.STOPPED : ServerState.FAILED;
            endedAt = System.nanoTime();
        }
        // The end comes first: whoever hears from start() that it failed, finds it.
        if (failure == null) {
            ended.complete(null);
        } else {
            ended.completeExceptionally(failure);
        }
        PortableException early =
                failure != null ? failure : new PortableException("the server was stopped while it started", null);
        started.completeExceptionally(early);
    }

    private void register() {
        if (options.shutdownHook && !entry.addHook(this::stopAtExit)) {
            end(Duration.ZERO); // the process is ending already
        }
        entry.addBean(new ServerBean(this));
    }

    private void stopAtExit() {
        stopAsTold();
        Duration limit;
        synchronized (lock) {
            limit = drain.plus(GRACE);
        }
        try {
            ended.get(limit.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException | TimeoutException e) {
            return; // the process ends, come what may
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
