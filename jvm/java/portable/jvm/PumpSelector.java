package portable.jvm;

import java.io.IOException;
import java.nio.channels.CancelledKeyException;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The selector of a pump: how its wait ends, and what is done when it has ended for no reason.
 *
 * <p>One thread uses it; only {@link #wakeup} may be called from others.
 */
final class PumpSelector {
    /** Selects that return early for no reason, in a row, after which the selector is taken for broken. */
    static final int MOST_PREMATURE = 512;

    /** Set by whoever found that an event of the selector meant something. */
    boolean progress;

    private final Consumer<SelectionKey> onReady = PumpSelector::ready;
    private final SelectCall selectCall;
    private volatile Selector selector;
    private volatile boolean woken;
    private int premature;
    private int rebuilds;

    /** How to select; tests put a selector's failures here. */
    interface SelectCall {
        /** Waits for `timeoutMillis` (-1: for ever, 0: not at all) and calls `action` for what is ready. */
        void select(Selector selector, Consumer<SelectionKey> action, int timeoutMillis) throws IOException;
    }

    PumpSelector(SelectCall selectCall) throws IOException {
        this.selectCall = selectCall;
        selector = Selector.open();
    }

    /** Returns what to register with now; {@link Slot#move} tells when it is replaced. */
    Selector current() {
        return selector;
    }

    /** Ends the wait that goes on, or the next one. From any thread. */
    void wakeup() {
        // In this order: whoever sees no flag has still to be woken by the selector.
        woken = true;
        selector.wakeup();
    }

    /** Returns whether the next wait is to end at once. */
    boolean woken() {
        return woken;
    }

    /** Waits for `timeoutMillis` (-1: for ever, 0: not at all) and tells the slots that are ready. */
    void select(int timeoutMillis) throws PumpException {
        progress = false;
        long start = timeoutMillis > 0 ? System.nanoTime() : 0;
        try {
            selectCall.select(selector, onReady, timeoutMillis);
        } catch (IOException | ClosedSelectorException e) {
            throw new PumpException(e);
        }
        // Left set, it would end every following wait at once.
        boolean interrupted = Thread.interrupted();
        boolean expected = progress || interrupted || timeoutMillis == 0;
        if (woken) {
            woken = false;
            expected = true;
        }
        if (expected || timeoutMillis > 0 && System.nanoTime() - start >= (timeoutMillis - 1) * 1_000_000L) {
            premature = 0;
        } else if (++premature >= MOST_PREMATURE) {
            premature = 0;
            rebuild();
        }
    }

    private static void ready(SelectionKey key) {
        int operations;
        try {
            operations = key.readyOps();
        } catch (CancelledKeyException e) {
            return;
        }
        ((Slot) key.attachment()).ready(operations);
    }

    /** The usual {@link SelectCall}. */
    static void selectFor(Selector selector, Consumer<SelectionKey> action, int timeoutMillis) throws IOException {
        if (timeoutMillis == 0) {
            selector.selectNow(action);
        } else {
            selector.select(action, Math.max(timeoutMillis, 0));
        }
    }

    /** Replaces a selector that returns for no reason: some kernels' do, and would fill the processor. */
    private void rebuild() throws PumpException {
        Selector old = selector;
        Selector fresh;
        try {
            fresh = Selector.open();
        } catch (IOException e) {
            return; // no descriptors for another now: this one, slow as it is, does its work
        }
        try {
            selector = fresh;
            for (SelectionKey key : old.keys()) {
                ((Slot) key.attachment()).move(fresh);
            }
            old.close();
        } catch (IOException e) {
            throw new PumpException(e);
        }
        rebuilds++;
    }

    /** Returns how often the selector was replaced. */
    int rebuilds() {
        return rebuilds;
    }

    /** Lets go of the channels that were closed: only then their descriptors go. */
    void letGo() throws PumpException {
        try {
            // What is ready stays ready; a wake-up that this swallows is known by its flag.
            selector.selectNow(key -> { });
        } catch (IOException e) {
            throw new PumpException(e);
        }
    }

    /** Closes every channel, and the selector. */
    void close() {
        for (SelectionKey key : selector.isOpen() ? selector.keys() : Set.<SelectionKey>of()) {
            Slot slot = (Slot) key.attachment();
            if (!slot.dead) {
                slot.closeChannel();
            }
        }
        try {
            selector.close();
        } catch (IOException e) {
            // Its descriptors are gone all the same.
        }
    }
}
