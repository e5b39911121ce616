package portable.jvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Addresses as texts. */
class AddressesTest {
    @ParameterizedTest
    @CsvSource({
        "127.0.0.1, 127.0.0.1",
        "::1, ::1",
        "::, ::",
        "2001:db8:0:0:1:0:0:1, 2001:db8::1:0:0:1",
        "2001:DB8:0:1:1:1:1:1, 2001:db8:0:1:1:1:1:1",
        "2001:db8:0:0:0:0:0:0, 2001:db8::",
        "0:0:1:0:0:0:0:0, 0:0:1::",
        "1:2:3:4:5:6:7:8, 1:2:3:4:5:6:7:8",
        "1:0:0:2:0:0:0:3, 1:0:0:2::3",
        "::ffff:192.0.2.1, 192.0.2.1",
    })
    void textsAreThoseOfRfc5952(String given, String text) throws PumpException {
        assertEquals(text + "\n80", Addresses.text(Addresses.of(given, 80)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "localhost", "example.com", "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.+4", "1.2.3.0004", "1.2.3.",
                "0x7f.0.0.1", "g::1", "1::2::3", "١.2.3.4"
            })
    void namesAndNonsenseAreRefusedWithoutAskingAnybody(String host) {
        assertEquals("EINVAL", assertThrows(PumpException.class, () -> Addresses.of(host, 1)).code());
    }

    @Test
    void scopesAreInterfaces() {
        PumpException error = assertThrows(PumpException.class, () -> Addresses.of("fe80::1%nosuch0", 1));
        assertEquals("ENODEV", error.code());
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 65536})
    void portsHaveLimits(int port) {
        assertEquals("EINVAL", assertThrows(PumpException.class, () -> Addresses.of("::1", port)).code());
        assertEquals("EINVAL", assertThrows(PumpException.class, () -> Addresses.toBind("", port)).code());
    }
}
