//! How much of what was written to a TCP connection its peer has not acknowledged yet.
//!
//! A write ends when the kernel has taken the bytes, which then lie in its send buffer: over a thin link for
//! minutes. `SIOCOUTQ` tells how many lie there, but no crate of ours asks it without `unsafe`; the
//! kernel's tables of connections tell the same number. Promises: a number of the kernel's own, or none
//! where its tables can't be read. Never: waits for the network.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;

use rustix::fs::fstat;

/// Of the network namespace that this process is in. They are there with `ProcSubset=pid` too.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// Bytes that lie in the kernel's send buffer, sent or not.
pub fn unacknowledged(socket: impl AsFd) -> Option<u64> {
    let inode = fstat(&socket).ok()?.st_ino;
    TABLES.iter().find_map(|table| {
        let rows = BufReader::new(File::open(table).ok()?).lines();
        rows.map_while(Result::ok).find_map(|row| of_socket(&row, inode))
    })
}

/// Unacknowledged bytes, if this row of the table is that of the socket `inode` (Linux,
/// Documentation/networking/proc_net_tcp.rst): the fifth field is `tx_queue:rx_queue` in
/// hexadecimal, the tenth the socket's inode.
fn of_socket(row: &str, inode: u64) -> Option<u64> {
    let mut fields = row.split_whitespace().skip(4);
    let (unacknowledged, _) = fields.next()?.split_once(':')?;
    let is_it = fields.nth(4)?.parse() == Ok(inode);
    is_it.then(|| u64::from_str_radix(unacknowledged, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_the_peer_has_no_room_for_is_unacknowledged() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has one of them.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4 << 10).unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_held, _) = listener.accept().unwrap();
            assert_eq!(unacknowledged(&stream), Some(0), "{address}");
            stream.set_nonblocking(true).unwrap();
            let taken = stream.write(&[b'x'; 100_000]).unwrap() as u64;
            let waiting = unacknowledged(&stream).unwrap();
            assert!(0 < waiting && waiting <= taken, "{waiting} of {taken}");
        }
        // A file that is not a TCP socket is in neither table.
        assert_eq!(unacknowledged(File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn a_row_is_taken_for_its_own_socket_alone() {
        let row = "   1: 0100007F:D2F4 0100007F:01BB 01 0000EC49:00000011 01:00000014 00000000  \
                   1000        0 81553 3 000000005a4d9a0f 20 4 30 10 -1";
        assert_eq!(of_socket(row, 81_553), Some(0xEC49));
        assert_eq!(of_socket(row, 8_155), None);
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                    uid  timeout inode";
        assert_eq!(of_socket(head, 0), None);
        assert_eq!(of_socket("", 0), None);
    }
}
