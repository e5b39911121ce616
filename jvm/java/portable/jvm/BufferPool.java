package portable.jvm;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;

/**
 * Direct buffers of 64 KB for what the kernel did not take yet.
 *
 * <p>Some stay here for the next use: 64 while others are in use, 16 when none is. The rest is left to the
 * collector, which frees the memory behind them, at the latest when the JVM's limit for direct memory is near.
 */
final class BufferPool {
    /** Bytes in one buffer. */
    static final int SIZE = 64 * 1024;

    private static final int MOST_FREE = 64;
    private static final int MOST_FREE_WHEN_IDLE = 16;

    private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();
    private int taken;

    /** Returns an empty buffer (position and limit 0). */
    ByteBuffer take() {
        ByteBuffer buffer = free.pollLast();
        if (buffer == null) {
            buffer = ByteBuffer.allocateDirect(SIZE);
        }
        taken++;
        return buffer.position(0).limit(0);
    }

    /** Takes a buffer back. */
    void give(ByteBuffer buffer) {
        taken--;
        if (free.size() < MOST_FREE) {
            free.addLast(buffer);
        }
        if (taken == 0) {
            while (free.size() > MOST_FREE_WHEN_IDLE) {
                free.removeLast();
            }
        }
    }

    /** Returns how many bytes the buffers in use and those kept here hold. */
    long bytes() {
        return (long) (taken + free.size()) * SIZE;
    }
}
