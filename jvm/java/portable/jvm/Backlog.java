package portable.jvm;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;

/** What one connection was given to write and the kernel has not taken yet. */
final class Backlog {
    // Buffers handed to the kernel at once: 1 MB, more than any socket's send buffer takes.
    private static final int MOST_GATHERED = 16;

    private final BufferPool pool;
    private final ArrayDeque<ByteBuffer> chunks = new ArrayDeque<>(4); // each from position to limit
    private long bytes;

    Backlog(BufferPool pool) {
        this.pool = pool;
    }

    /** Returns how many bytes wait. */
    long bytes() {
        return bytes;
    }

    boolean isEmpty() {
        return bytes == 0;
    }

    /** Copies what remains in `source`, and consumes it. */
    void append(ByteBuffer source) {
        ByteBuffer last = chunks.peekLast();
        while (source.hasRemaining()) {
            if (last == null || last.limit() == last.capacity()) {
                last = pool.take();
                chunks.addLast(last);
            }
            int end = last.limit();
            int count = Math.min(source.remaining(), last.capacity() - end);
            last.limit(end + count);
            last.put(end, source, source.position(), count);
            source.position(source.position() + count);
            bytes += count;
        }
    }

    /** Writes what the kernel takes in one call, using `scratch` (see {@link #scratch}). */
    void writeTo(SocketChannel channel, ByteBuffer[] scratch) throws IOException {
        int count = 0;
        for (ByteBuffer chunk : chunks) {
            if (count == scratch.length) {
                break;
            }
            scratch[count++] = chunk;
        }
        try {
            bytes -= count == 1 ? channel.write(scratch[0]) : channel.write(scratch, 0, count);
        } finally {
            for (int i = 0; i < count; i++) {
                scratch[i] = null;
            }
        }
        while (!chunks.isEmpty() && !chunks.peekFirst().hasRemaining()) {
            pool.give(chunks.pollFirst());
        }
    }

    /** Drops everything. */
    void release() {
        while (!chunks.isEmpty()) {
            pool.give(chunks.pollFirst());
        }
        bytes = 0;
    }

    /** Returns an array for {@link #writeTo}, which all backlogs of a thread can share. */
    static ByteBuffer[] scratch() {
        return new ByteBuffer[MOST_GATHERED];
    }
}
