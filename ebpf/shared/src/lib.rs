//! Packet classes shared by the kernel classifier and user space.
