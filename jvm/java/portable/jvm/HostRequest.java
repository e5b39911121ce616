package portable.jvm;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/** Something a Java thread wants done in a server's loop. Python takes these from {@link HostLoop#next()}. */
public final class HostRequest {
    private final String kind;
    private final String function;
    private final Object[] arguments;
    private final Callable<?> task;
    private final CompletableFuture<Object> result = new CompletableFuture<>();
    private volatile boolean answered;

    private HostRequest(String kind, String function, Object[] arguments, Callable<?> task) {
        this.kind = kind;
        this.function = function;
        this.arguments = arguments;
        this.task = task;
    }

    static HostRequest simple(String kind) {
        return new HostRequest(kind, "", new Object[0], null);
    }

    /** Asks for the end; null leaves the time to the server's options and its file. */
    static HostRequest stop(Duration time) {
        return new HostRequest("stop", "", new Object[] {seconds(time)}, null);
    }

    /** Returns a time as Python takes it, below 0 for null. */
    static double seconds(Duration time) {
        return time == null ? -1.0 : time.toNanos() / 1e9;
    }

    static HostRequest function(String function, Object[] arguments) {
        return new HostRequest("call", function, arguments.clone(), null);
    }

    static HostRequest task(Callable<?> task) {
        return new HostRequest("run", "", new Object[0], task);
    }

    /**
     * Returns what is wanted.
     *
     * @return "run", "call", "stop", "reload" or "snapshot"
     */
    public String kind() {
        return kind;
    }

    /**
     * Returns which function to "call".
     *
     * @return "module:function"
     */
    public String function() {
        return function;
    }

    /**
     * Returns how many arguments there are.
     *
     * @return a number
     */
    public int count() {
        return arguments.length;
    }

    /**
     * Returns one argument.
     *
     * @param index from 0
     * @return what Jep makes of it
     */
    public Object argument(int index) {
        return arguments[index];
    }

    /** Does what "run" asks for, in the calling thread. */
    public void run() {
        try {
            complete(task.call());
        } catch (Throwable e) {
            // Whoever waits for the result is told, and the loop goes on.
            answer(() -> result.completeExceptionally(e));
        }
    }

    /**
     * Reports success.
     *
     * @param value the result
     */
    public void complete(Object value) {
        answer(() -> result.complete(value));
    }

    /**
     * Reports failure.
     *
     * @param type the class of the exception in Python
     * @param message its text
     * @param traceback as Python prints it
     * @param cause the exception of Java's that Python's comes from; null if there is none
     */
    public void fail(String type, String message, String traceback, Object cause) {
        refuse(new PortableException(message, type, traceback, cause instanceof Throwable found ? found : null));
    }

    /** Returns whether whoever asked wants no answer any more. */
    boolean cancelled() {
        return result.isCancelled();
    }

    void refuse(PortableException error) {
        answer(() -> result.completeExceptionally(error));
    }

    /** Answers once. What hangs on the result runs elsewhere: in the loop's thread it would keep everybody waiting. */
    private void answer(Runnable completion) {
        if (!answered) {
            answered = true;
            result.defaultExecutor().execute(completion);
        }
    }

    CompletableFuture<Object> result() {
        return result;
    }
}
