//! The numbered line of DHCPv6, and what stands around it.
