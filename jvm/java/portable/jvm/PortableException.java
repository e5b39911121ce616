package portable.jvm;

/**
 * A server could not be started, or failed, or refused a call.
 *
 * <p>What Python knows about it is in {@link #pythonTraceback()}, what Java knows is the exception's own stack
 * and its cause. Printing it, or giving it to a logger, shows both: Python's traceback is the message of the cause,
 * or of a suppressed exception where Java has the cause.
 */
public final class PortableException extends Exception {
    private static final long serialVersionUID = 1L;

    /** Python's class, or "". */
    private final String pythonType;
    /** Python's traceback, or "". */
    private final String pythonTraceback;

    PortableException(String message, Throwable cause) {
        this(message, "", "", cause);
    }

    PortableException(String message, String pythonType, String pythonTraceback, Throwable cause) {
        super(message, cause == null && !pythonTraceback.isEmpty() ? new PythonError(pythonTraceback) : cause);
        if (cause != null && !pythonTraceback.isEmpty()) {
            addSuppressed(new PythonError(pythonTraceback));
        }
        this.pythonType = pythonType;
        this.pythonTraceback = pythonTraceback;
    }

    /**
     * Returns the class of the exception in Python.
     *
     * @return such as "portable.errors.ListenError"; "" if none was raised there
     */
    public String pythonType() {
        return pythonType;
    }

    /**
     * Returns Python's traceback, with its causes, as Python prints it.
     *
     * @return several lines; "" if the failure was Java's alone
     */
    public String pythonTraceback() {
        return pythonTraceback;
    }

    /** Shows what Python knows. */
    private static final class PythonError extends Exception {
        private static final long serialVersionUID = 1L;

        PythonError(String traceback) {
            super(traceback, null, false, false);
        }

        @Override
        public String toString() {
            return "in Python: " + getMessage().stripTrailing();
        }
    }
}
