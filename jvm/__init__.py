"""The JVM: Java sources and how they are built, and finding a Java to run them."""
