package portable.jvm;

import java.io.FileDescriptor;
import java.io.FileNotFoundException;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicBoolean;

/** Runs the servers of a {@code .tap} file as a program, in the foreground. */
public final class Main {
    private static final int DONE = 0;
    private static final int FAILED = 1;
    private static final int MISUSED = 2;

    private static final DateTimeFormatter CLOCK =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    private static final String HELP = String.join(
            "\n",
            "usage: java -cp portable-jvm.jar:jep.jar portable.jvm.Main -f FILE.tap [options]",
            "",
            "Run the servers of a .tap file, made by mktap, inside the JVM.",
            "",
            "  -f, --file FILE.tap   what to run (default: twistd.tap)",
            "  --python FILE         the Python to run (default: PORTABLE_PYTHON, VIRTUAL_ENV's, or python3 on PATH);",
            "                        it needs the package jep",
            "  --modules DIR         look for modules in this folder too; may be repeated",
            "  -l, --logfile FILE    append the log to this file (default: standard output)",
            "  --name NAME           of the MBean portable.jvm:type=Server,name=NAME (default: the file's)",
            "  --drain SECONDS       for work in flight at the end (default: the file's, or 10)",
            "  --debug               debug messages and tracebacks",
            "  -h, --help            show this",
            "",
            "SIGTERM, SIGINT: finish work in flight and stop; a second one stops at once. SIGHUP: read certificates",
            "again and open the log file anew.",
            "Exit status: 0 done, 1 failed, 2 wrong usage.");

    private static final PrintStream STANDARD =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private static PrintStream output = STANDARD;

    private Main() {}

    private static final class UsageException extends Exception {
        private static final long serialVersionUID = 1L;

        UsageException(String message) {
            super(message);
        }
    }

    /**
     * Runs until a signal or a failure ends it.
     *
     * @param arguments see {@code --help}
     */
    public static void main(String[] arguments) {
        System.exit(run(arguments));
    }

    private static int run(String[] arguments) {
        Path file = Path.of("twistd.tap");
        String logfile = null;
        Path python = null;
        String name = null;
        Duration drain = null;
        boolean debug = false;
        List<Path> folders = new ArrayList<>();
        try {
            for (int i = 0; i < arguments.length; i++) {
                String option = arguments[i];
                switch (option) {
                    case "-h", "--help" -> {
                        System.out.println(HELP);
                        return DONE;
                    }
                    case "--debug" -> debug = true;
                    case "-f", "--file" -> file = path(value(arguments, ++i));
                    case "-l", "--logfile" -> logfile = value(arguments, ++i);
                    case "--python" -> python = path(value(arguments, ++i));
                    case "--name" -> name = value(arguments, ++i);
                    case "--modules" -> folders.add(path(value(arguments, ++i)));
                    case "--drain" -> drain = seconds(value(arguments, ++i));
                    default -> throw new UsageException("unknown argument: " + option);
                }
            }
        } catch (UsageException e) {
            System.err.println("portable.jvm.Main: " + e.getMessage() + "; see --help");
            return MISUSED;
        }
        String missing = open(logfile);
        if (missing != null) {
            System.err.println("portable.jvm.Main: " + missing);
            return FAILED;
        }
        PortableServer.Builder builder = PortableServer.builder(file).log(Main::log).debug(debug);
        if (python != null) {
            builder.python(python);
        }
        if (name != null) {
            builder.name(name);
        }
        if (drain != null) {
            builder.drain(drain);
        }
        folders.forEach(builder::modules);
        return serve(builder.build(), logfile, debug);
    }

    private static String value(String[] arguments, int index) throws UsageException {
        if (index >= arguments.length) {
            throw new UsageException(arguments[index - 1] + " needs a value");
        }
        return arguments[index];
    }

    private static Path path(String text) throws UsageException {
        try {
            return Path.of(text);
        } catch (InvalidPathException e) {
            // Java can name only files whose characters are in the locale's encoding, which may be ASCII.
            throw new UsageException(text + " is no path in this locale; LC_ALL=C.UTF-8 knows all");
        }
    }

    private static Duration seconds(String text) throws UsageException {
        try {
            double seconds = Double.parseDouble(text);
            if (seconds >= 0 && seconds <= Integer.MAX_VALUE) {
                return Duration.ofNanos((long) (seconds * 1e9));
            }
        } catch (NumberFormatException e) {
            // As one that is out of range.
        }
        throw new UsageException("--drain: " + text + " is not a number of seconds");
    }

    private static int serve(PortableServer server, String logfile, boolean debug) {
        CompletableFuture<PortableServer> started = server.startAsync();
        AtomicBoolean stopping = new AtomicBoolean();
        Runnable stop = () -> {
            if (stopping.getAndSet(true)) {
                log(System.Logger.Level.WARNING, "portable.jvm", "stopping at once: a signal again");
                server.stop(Duration.ZERO);
            } else {
                log(System.Logger.Level.INFO, "portable.jvm", "stopping: a signal");
                server.close();
            }
        };
        Signals.handle("TERM", stop);
        Signals.handle("INT", stop);
        Signals.handle("HUP", () -> reload(started, logfile));
        try {
            server.ended().join();
        } catch (CompletionException e) {
            if (debug) {
                e.getCause().printStackTrace();
            }
            System.err.println("portable.jvm.Main: " + e.getCause().getMessage());
            return FAILED;
        }
        log(System.Logger.Level.INFO, "portable.jvm", "stopped");
        return DONE;
    }

    private static void reload(CompletableFuture<PortableServer> started, String logfile) {
        String missing = open(logfile);
        if (missing != null) {
            log(System.Logger.Level.ERROR, "portable.jvm", "the log is not opened anew: " + missing);
        }
        // The ports are told in the log a moment before the start is over.
        started.thenCompose(PortableServer::reload).whenComplete((nothing, error) -> {
            if (error == null) {
                log(System.Logger.Level.INFO, "portable.jvm", "reloaded");
            } else {
                log(System.Logger.Level.ERROR, "portable.jvm", "the reload failed: " + error.getMessage());
            }
        });
    }

    /** Logs to `file` from now on, unless it is null; returns what is wrong with it, or null. */
    private static synchronized String open(String file) {
        if (file != null) {
            PrintStream old = output;
            try {
                output = new PrintStream(new FileOutputStream(file, true), true, StandardCharsets.UTF_8);
            } catch (FileNotFoundException e) {
                return e.getMessage();
            }
            if (old != STANDARD) {
                old.close();
            }
        }
        return null;
    }

    private static synchronized void log(System.Logger.Level level, String logger, String message) {
        String word = level.getName().toLowerCase(Locale.ROOT);
        output.println(
                String.format("%s %-7s %s: %s", CLOCK.format(Instant.now()), word, logger, message));
    }
}
