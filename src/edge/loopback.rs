//! Small servers on loopback for the tests of the edge.
