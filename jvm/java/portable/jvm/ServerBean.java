package portable.jvm;

import java.time.Duration;
import java.util.List;

/** What JMX sees; see the interface. */
final class ServerBean implements PortableServerMXBean {
    private final PortableServer server;

    ServerBean(PortableServer server) {
        this.server = server;
    }

    @Override
    public ServerState getState() {
        return server.status().state();
    }

    @Override
    public List<String> getAddresses() {
        return server.addresses();
    }

    @Override
    public long getConnections() {
        return server.status().connections();
    }

    @Override
    public long getAccepted() {
        return server.status().accepted();
    }

    @Override
    public long getRefused() {
        return server.status().refused();
    }

    @Override
    public long getBytesReceived() {
        return server.status().bytesReceived();
    }

    @Override
    public long getBytesSent() {
        return server.status().bytesSent();
    }

    @Override
    public double getLoopLagSeconds() {
        return server.status().loopLag().toNanos() / 1e9;
    }

    @Override
    public double getUptimeSeconds() {
        return server.status().uptime().toNanos() / 1e9;
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
