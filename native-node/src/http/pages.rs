//! The web page's files: only those in one directory, and never through symbolic links.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use percent_encoding::percent_decode_str;
use tower::{ServiceExt, service_fn};
use tower_http::services::ServeDir;

use super::error::ApiError;

/// The longest file name on common file systems, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Serves the directory's files at paths without a route.
pub(super) fn add(router: Router, directory: &Path) -> Router {
    let missing = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(ApiError::RouteNotFound.into_response())
    });
    let pages =
        ServeDir::new(directory).precompressed_gzip().call_fallback_on_method_not_allowed(true);
    let pages = pages.fallback(missing);
    let directory = directory.to_owned();
    router.fallback_service(service_fn(move |request: Request<Body>| {
        let (pages, directory) = (pages.clone(), directory.clone());
        async move {
            let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
            let looking = tokio::task::spawn_blocking(move || is_plain(&directory, &path));
            if !looking.await.unwrap_or(false) {
                return Ok(ApiError::RouteNotFound.into_response());
            }
            let response: Response = pages.oneshot(request).await?.into_response();
            Ok::<_, Infallible>(response)
        }
    }))
}

/// Whether a path contains no hidden name and no symbolic link.
fn is_plain(directory: &Path, path: &str) -> bool {
    let mut place = PathBuf::from(directory);
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if name.starts_with('.') || name.len() > MAX_NAME_BYTES || name.contains('\0') {
            return false;
        }
        place.push(name);
        if is_link(&place) {
            return false;
        }
    }
    // The files that may be served instead of this file, or for a directory.
    let compressed = |place: &Path| {
        let mut name = place.as_os_str().to_owned();
        name.push(".gz");
        PathBuf::from(name)
    };
    let index = place.join("index.html");
    ![compressed(&place), compressed(&index), index].iter().any(|place| is_link(place))
}

fn is_link(place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}
