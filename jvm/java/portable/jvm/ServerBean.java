package portable.jvm;

import java.time.Duration;
import java.util.List;

/** What JMX sees; see the interface. */
final class ServerBean implements PortableServerMXBean {
    /** A console reads one attribute after the other. A loop that is busy must not hold it up for each of them. */
    private static final long REUSE_NANOS = 500_000_000;

    private final PortableServer server;
    private ServerStatus counters;
    private long counted;

    ServerBean(PortableServer server) {
        this.server = server;
    }

    private synchronized ServerStatus counters() {
        if (counters == null || System.nanoTime() - counted > REUSE_NANOS) {
            counters = server.status();
            counted = System.nanoTime();
        }
        return counters;
    }

    @Override
    public ServerState getState() {
        return server.known().state();
    }

    @Override
    public List<String> getAddresses() {
        return server.addresses();
    }

    @Override
    public long getConnections() {
        return counters().connections();
    }

    @Override
    public long getAccepted() {
        return counters().accepted();
    }

    @Override
    public long getRefused() {
        return counters().refused();
    }

    @Override
    public long getBytesReceived() {
        return counters().bytesReceived();
    }

    @Override
    public long getBytesSent() {
        return counters().bytesSent();
    }

    @Override
    public double getLoopLagSeconds() {
        return server.known().loopLag().toNanos() / 1e9;
    }

    @Override
    public double getUptimeSeconds() {
        return server.known().uptime().toNanos() / 1e9;
    }

    @Override
    public void reload() {
        server.reload();
    }

    @Override
    public void stop(double seconds) {
        server.stop(Duration.ofNanos((long) (seconds * 1e9)));
    }
}
