//! The engines' metrics as Prometheus text, for scrapers of the engine port. (The admin listener has those of all roles.)

use bytes::Bytes;
use http::StatusCode;
use mainstay_execution::http::text;
use mainstay_wire::server::Response;
use prometheus_client::registry::Registry;

/// The page.
pub(crate) fn page(registry: &Registry) -> Response {
    let mut page = String::new();
    if prometheus_client::encoding::text::encode(&mut page, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written".into());
    }
    let mut response = text(StatusCode::OK, String::new());
    let kind = http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    *response.body_mut() = Bytes::from(page).into();
    response
}
