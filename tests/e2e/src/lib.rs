//! Boots real firmware from the server in network namespaces.
