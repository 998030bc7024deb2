//! Packets of a TFTP client.

/// A read request in octet mode (RFC 1350 section 5, RFC 2347).
pub(crate) fn read_request(file: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut request = vec![0, 1];
    for text in [file, "octet"]
        .into_iter()
        .chain(options.iter().flat_map(|(n, v)| [*n, *v]))
    {
        request.extend(text.as_bytes());
        request.push(0);
    }
    request
}
