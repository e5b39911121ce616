package portable.jvm;

import java.util.List;

/**
 * What a JMX console sees of a running server, as {@code portable.jvm:type=Server,name=...}. The counters may be half a
 * second old, and older while the loop is busy.
 */
public interface PortableServerMXBean {
    /**
     * Returns where the server is in its life.
     *
     * @return the state
     */
    ServerState getState();

    /**
     * Returns what the server listens on.
     *
     * @return such as "web tcp 127.0.0.1:8080" each
     */
    List<String> getAddresses();

    /**
     * Returns how many connections are open.
     *
     * @return a number
     */
    long getConnections();

    /**
     * Returns how many connections were taken.
     *
     * @return a number since the start
     */
    long getAccepted();

    /**
     * Returns how many connections were closed at once because of a limit.
     *
     * @return a number since the start
     */
    long getRefused();

    /**
     * Returns how many bytes have come.
     *
     * @return a number since the start
     */
    long getBytesReceived();

    /**
     * Returns how many bytes have gone.
     *
     * @return a number since the start
     */
    long getBytesSent();

    /**
     * Returns the longest time in the last minute that a turn of the loop took for anything but waiting.
     *
     * @return seconds
     */
    double getLoopLagSeconds();

    /**
     * Returns for how long the ports have been bound.
     *
     * @return seconds
     */
    double getUptimeSeconds();

    /** Reads certificates and the like again. */
    void reload();

    /**
     * Begins to stop, and does not wait for the end.
     *
     * @param seconds how long work in flight may take; 0 ends at once
     */
    void stop(double seconds);
}
