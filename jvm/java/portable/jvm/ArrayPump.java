package portable.jvm;

import java.nio.ByteBuffer;
import java.nio.IntBuffer;

/**
 * A {@link Pump} whose buffers are plain arrays, for languages that cannot see a direct buffer's memory.
 *
 * <p>Each poll copies what is used of them, nothing more.
 */
public final class ArrayPump implements AutoCloseable {
    private static final int FIELDS = 4;

    private final Pump pump;
    private final IntBuffer eventFields;
    private final ByteBuffer eventBytes;
    private final IntBuffer opFields;
    private final ByteBuffer opBytes;
    private final int[] eventHeaders;
    private final byte[] eventPayloads;
    private final int[] opHeaders;
    private final byte[] opPayloads;

    /**
     * Wraps a pump.
     *
     * @param pump whose poll and apply must not be called any more; its other methods may
     */
    public ArrayPump(Pump pump) {
        this.pump = pump;
        eventFields = pump.eventHeaders().asIntBuffer();
        eventBytes = pump.eventPayloads().duplicate().clear();
        opFields = pump.opHeaders().asIntBuffer();
        opBytes = pump.opPayloads().duplicate().clear();
        eventHeaders = new int[eventFields.capacity()];
        eventPayloads = new byte[eventBytes.capacity()];
        opHeaders = new int[opFields.capacity()];
        opPayloads = new byte[opBytes.capacity()];
    }

    /** {@return the pump, for everything but poll and apply} */
    public Pump pump() {
        return pump;
    }

    /** {@return the events' records, four ints each; the same array always} */
    public int[] eventHeaders() {
        return eventHeaders;
    }

    /** {@return the events' payloads; the same array always} */
    public byte[] eventPayloads() {
        return eventPayloads;
    }

    /** {@return the array that takes the operations' records, four ints each; the same one always} */
    public int[] opHeaders() {
        return opHeaders;
    }

    /** {@return the array that takes the operations' payloads; the same one always} */
    public byte[] opPayloads() {
        return opPayloads;
    }

    /**
     * Does what {@link Pump#poll} does.
     *
     * @param timeoutMillis see there
     * @param nops see there
     * @return see there
     * @throws PumpException see there
     */
    public long poll(int timeoutMillis, int nops) throws PumpException {
        handOver(nops);
        long result = pump.poll(timeoutMillis, nops);
        if ((result & Pump.REFUSED) != 0) {
            opFields.get(0, opHeaders, 0, nops * FIELDS);
        }
        eventFields.get(0, eventHeaders, 0, (int) (result & ~Pump.REFUSED) * FIELDS);
        eventBytes.get(0, eventPayloads, 0, (int) (result >>> 32));
        return result;
    }

    /**
     * Does what {@link Pump#apply} does.
     *
     * @param nops see there
     * @return see there
     */
    public boolean apply(int nops) {
        handOver(nops);
        boolean refused = pump.apply(nops);
        if (refused) {
            opFields.get(0, opHeaders, 0, nops * FIELDS);
        }
        return refused;
    }

    private void handOver(int nops) {
        int bytes = 0;
        for (int i = 0; i < nops; i++) {
            bytes += opHeaders[i * FIELDS + 3];
        }
        opFields.put(0, opHeaders, 0, nops * FIELDS);
        opBytes.put(0, opPayloads, 0, bytes);
    }

    /** Closes the pump. */
    @Override
    public void close() {
        pump.close();
    }
}
