package portable.jvm;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What a server's Python half sees of Java. Only {@link #log} may be called outside the loop's thread. Not for host
 * programs: they have {@link PortableServer}.
 */
public final class HostLoop {
    private static final int BUCKETS = 7;
    private static final long BUCKET_NANOS = 10_000_000_000L;

    /** Who wants to hear. */
    interface Listener {
        void started(List<String> addresses, Duration drain);

        void stopping();
    }

    private final Pump pump;
    private final LogSink log;
    private final Listener listener;
    private final ArrayDeque<HostRequest> requests = new ArrayDeque<>();
    /** Those that Python has taken and not answered. */
    private final Set<HostRequest> underWay = ConcurrentHashMap.newKeySet();
    private volatile boolean requested;
    private boolean closed;

    // The longest turns, each of ten seconds: about a minute together. Written by the loop's thread only.
    private final long[] longest = new long[BUCKETS];
    private final long[] periods = new long[BUCKETS];
    private volatile long busySince = System.nanoTime();
    private volatile boolean waiting = true;

    private volatile String failureType = "";
    private volatile String failureMessage = "";
    private volatile String failureTraceback = "";
    private volatile Throwable failureCause;
    private volatile List<?> numbers = List.of(0, 0, 0, 0, 0);

    HostLoop(LogSink log, Listener listener) throws PumpException {
        this.pump = new Pump();
        this.log = log;
        this.listener = listener;
    }

    // For Python.

    /**
     * Returns the pump that this loop turns.
     *
     * @return one of its own
     */
    public Pump pump() {
        return pump;
    }

    /**
     * Does what {@link Pump#poll} does.
     *
     * @param timeoutMillis see there
     * @param nops see there
     * @return see there; with the sign bit set if there are requests to take with {@link #next()}
     * @throws PumpException see there
     */
    public long poll(int timeoutMillis, int nops) throws PumpException {
        if (!waiting) { // as it is at first: what came before, the start, was no turn
            long now = System.nanoTime();
            note(now, now - busySince);
        }
        waiting = true;
        long told = pump.poll(requested ? 0 : timeoutMillis, nops);
        busySince = System.nanoTime();
        waiting = false;
        if (requested) {
            requested = false;
            return told | Long.MIN_VALUE;
        }
        return told;
    }

    /**
     * Takes the next request.
     *
     * @return null if there is none
     */
    public HostRequest next() {
        while (true) {
            HostRequest request;
            synchronized (requests) {
                request = requests.poll();
            }
            if (request == null) {
                return null;
            }
            if (!request.cancelled()) {
                underWay.add(request);
                request.result().whenComplete((value, error) -> underWay.remove(request));
                return request;
            }
        }
    }

    /**
     * Tells that every port is bound and accepts.
     *
     * @param addresses what they are, a line each
     * @param drain seconds that work in flight has at the end, if nobody says otherwise
     */
    public void started(String addresses, double drain) {
        listener.started(addresses.lines().toList(), Duration.ofNanos((long) (drain * 1e9)));
    }

    /** Tells that the server takes nothing new from now on. */
    public void stopping() {
        listener.stopping();
    }

    /**
     * Tells why the call that runs the loop is about to fail.
     *
     * @param type the class of the exception in Python
     * @param message its text
     * @param traceback as Python prints it
     * @param cause the exception of Java's that Python's comes from; null if there is none
     */
    public void failed(String type, String message, String traceback, Object cause) {
        failureType = type;
        failureMessage = message;
        failureTraceback = traceback;
        failureCause = cause instanceof Throwable found ? found : null;
    }

    /**
     * Tells the last counters, when no connection is left.
     *
     * @param counters as the answer to a "snapshot"
     */
    public void finished(Object counters) {
        numbers = (List<?>) counters;
    }

    /**
     * Writes to the host's log.
     *
     * @param level Python's number: 10 is debug, 20 info, 30 warning, 40 error
     * @param logger the name of the logger
     * @param message the text
     */
    public void log(int level, String logger, String message) {
        System.Logger.Level ours;
        if (level >= 40) {
            ours = System.Logger.Level.ERROR;
        } else if (level >= 30) {
            ours = System.Logger.Level.WARNING;
        } else if (level >= 20) {
            ours = System.Logger.Level.INFO;
        } else {
            ours = System.Logger.Level.DEBUG;
        }
        try {
            log.log(ours, logger, message);
        } catch (Throwable e) {
            // A log that fails must not end the server, and there is nowhere left to tell.
            return;
        }
    }

    // For Java.

    /** Has `request` done, or refused if the loop has ended. From any thread. */
    void add(HostRequest request) {
        synchronized (requests) {
            if (!closed) {
                requests.add(request);
                // In this order: a poll that sees no request is woken after it.
                requested = true;
                pump.wakeup();
                return;
            }
        }
        request.refuse(ended());
    }

    /** Ends it; in the loop's thread, or before there is one. */
    void close() {
        List<HostRequest> left;
        synchronized (requests) {
            closed = true;
            left = new ArrayList<>(requests);
            requests.clear();
            pump.close();
        }
        // What has no answer yet gets none any more: nothing of Python's runs from now on.
        left.addAll(underWay);
        for (HostRequest request : left) {
            request.refuse(ended());
        }
    }

    private static PortableException ended() {
        return new PortableException("the server has ended", null);
    }

    /** Returns what Python told about a failure; if nothing, what came through to Java. */
    PortableException failure(Throwable cause) {
        if (failureTraceback.isEmpty()) {
            return new PortableException("Python failed: " + cause.getMessage(), cause);
        }
        return new PortableException(failureMessage, failureType, failureTraceback, failureCause);
    }

    List<?> lastNumbers() {
        return numbers;
    }

    private void note(long now, long took) {
        long period = now / BUCKET_NANOS;
        int bucket = Math.floorMod(period, BUCKETS);
        synchronized (longest) {
            if (periods[bucket] != period) {
                periods[bucket] = period;
                longest[bucket] = 0;
            }
            longest[bucket] = Math.max(longest[bucket], took);
        }
    }

    /** Returns in nanoseconds what {@link ServerStatus#loopLag} tells. */
    long lag() {
        long now = System.nanoTime();
        long period = now / BUCKET_NANOS;
        long result = waiting ? 0 : now - busySince;
        synchronized (longest) {
            for (int i = 0; i < BUCKETS; i++) {
                if (period - periods[i] < BUCKETS) {
                    result = Math.max(result, longest[i]);
                }
            }
        }
        return Math.max(result, 0);
    }
}
