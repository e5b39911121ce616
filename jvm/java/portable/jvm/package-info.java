/**
 * Portable's network input and output on the JVM: one selector, and one exchange of events and operations per
 * turn of a loop that runs elsewhere (in Python, as a rule).
 */
package portable.jvm;
