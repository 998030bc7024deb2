//! Copies images in, hashes them and publishes the catalog.
