package portable.jvm;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;

/** Something with an id: a listener, a connection or a UDP socket. */
abstract class Slot {
    final Pump pump;
    final int id;
    /** Whether it is queued for {@link #serve}. */
    boolean waiting;
    /** Whether it is queued for {@link #report}. */
    boolean reporting;
    /** Whether the channel is closed; nothing happens after that except one report. */
    boolean dead;

    private SelectionKey key;
    private int interest;

    Slot(Pump pump) throws PumpException {
        this.pump = pump;
        this.id = pump.slots.add(this);
    }

    abstract SelectableChannel channel();

    /** Does what the selector says can be done now. */
    abstract void ready(int operations);

    /** Does now what there was no room for in the turn before. */
    abstract void serve();

    /** Records what has to be told besides data; returns false if there is no room for it. */
    abstract boolean report(EventBuffer events);

    /**
     * Does what the other side asked for; `payload` is from position to limit. Returns how many bytes of it, the
     * last ones, were to be sent and are not.
     */
    abstract int operate(int kind, int arg, ByteBuffer payload);

    final void register(int operations) throws ClosedChannelException {
        interest = operations;
        key = channel().register(pump.selector.current(), operations, this);
    }

    /** Moves to another selector. */
    final void move(Selector selector) throws ClosedChannelException {
        if (key != null && key.isValid()) {
            key = channel().register(selector, interest, this);
        }
    }

    /** Has the selector look for exactly these operations. */
    final void watch(int operations) {
        if (operations != interest && key != null && !dead) {
            interest = operations;
            key.interestOps(operations);
        }
    }

    /** Closes the channel. The system's descriptor goes at the next select. */
    final void closeChannel() {
        dead = true;
        try {
            channel().close();
        } catch (IOException e) {
            // Nothing can be done about it, and the descriptor is gone all the same.
        }
    }
}
