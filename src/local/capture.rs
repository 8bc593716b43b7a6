//! [`Capture`]: collects the catalog's response as bytes instead of sending it.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::server::{ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;

/// Holds one response of up to 65,535 bytes, the limit of a message over TCP (RFC 1035 section 4.2.2).
#[derive(Clone, Default)]
pub(super) struct Capture(Arc<OnceLock<Vec<u8>>>);

impl Capture {
    /// The response, if there was one.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match Arc::try_unwrap(self.0) {
            Ok(bytes) => bytes.into_inner(),
            Err(shared) => shared.get().cloned(),
        }
    }
}

#[async_trait]
impl ResponseHandler for Capture {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::with_capacity(512);
        let info = response.destructive_emit(&mut BinEncoder::new(&mut bytes))?;
        self.0.get_or_init(|| bytes);
        Ok(info)
    }
}
