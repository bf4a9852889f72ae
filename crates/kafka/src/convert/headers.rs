//! Reading a record's headers. rdkafka's own way panics over a name that is not UTF-8, which any foreign
//! producer may write.

use std::ffi::CStr;

use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

/// Calls `take` with the name and value of each header, in order. A null value is an empty one.
#[allow(unsafe_code)]
pub(crate) fn each(message: &BorrowedMessage<'_>, mut take: impl FnMut(&[u8], &[u8])) {
    let mut headers = std::ptr::null_mut();
    // SAFETY: `message.ptr()` is a live message for as long as `message` is borrowed; the call only writes
    // `headers`, and then points into that message.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: `headers` was set by the call above and lives as long as the message; the others are
        // written only on success.
        let found = unsafe {
            rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size)
        };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: on success `name` is a string that ends in zero and `value` is null or points to `size`
        // bytes; both belong to the message, which outlives this iteration.
        let (name, value) = unsafe {
            let value = match value.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(value.cast::<u8>(), size),
            };
            (CStr::from_ptr(name), value)
        };
        take(name.to_bytes(), value);
    }
}
