package portable.jvm;

import java.io.IOException;

/** What went wrong with a socket, by the errno name that every system knows it by. */
public final class PumpException extends IOException {
    private static final long serialVersionUID = 1L;

    /** The errno name. */
    private final String code;

    PumpException(String code, String message) {
        super(code + ": " + message);
        this.code = code;
    }

    PumpException(Throwable cause) {
        super(ErrnoNames.of(cause) + ": " + cause.getMessage(), cause);
        this.code = ErrnoNames.of(cause);
    }

    /** {@return the errno name, such as "EADDRINUSE"} */
    public String code() {
        return code;
    }
}
