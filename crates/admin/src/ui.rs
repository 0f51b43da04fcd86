//! The page: files of `ui/`, part of the binary. Nothing is loaded from elsewhere, no script or style stands in the page itself.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;

use crate::reply;
use crate::server::Site;

/// A file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $type:expr, $file:literal) => {
        File { path: $path, content_type: $type, content: include_str!(concat!("../ui/", $file)) }
    };
}

static FILES: &[File] = &[
    file!("/", HTML, "index.html"),
    file!("/dashboard", HTML, "index.html"),
    file!("/ui/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/ui/style.css", CSS, "style.css"),
    file!("/ui/main.js", JS, "main.js"),
    file!("/ui/dom.js", JS, "dom.js"),
    file!("/ui/live.js", JS, "live.js"),
    file!("/ui/actions.js", JS, "actions.js"),
    file!("/ui/roles.js", JS, "roles.js"),
    file!("/ui/strip.js", JS, "strip.js"),
    file!("/ui/plots.js", JS, "plots.js"),
    file!("/ui/process.js", JS, "process.js"),
    file!("/ui/playground.js", JS, "playground.js"),
    file!("/ui/fields.js", JS, "fields.js"),
    file!("/ui/vendor/uPlot.iife.min.js", JS, "vendor/uPlot.iife.min.js"),
    file!("/ui/vendor/uPlot.min.css", CSS, "vendor/uPlot.min.css"),
    file!("/ui/vendor/uPlot.LICENSE", "text/plain; charset=utf-8", "vendor/uPlot.LICENSE"),
];

/// Own scripts, styles and connections alone; nobody may frame it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// The routes of the page.
pub(crate) fn routes() -> Router<Arc<Site>> {
    FILES.iter().fold(Router::new(), |router, file| router.route(file.path, get(async || serve(file))))
}

fn serve(file: &File) -> Response<Body> {
    let mut response = reply::with_type(StatusCode::OK, file.content_type, file.content);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}
