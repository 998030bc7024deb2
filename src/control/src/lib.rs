//! Web service, boot scripts, certificates.
