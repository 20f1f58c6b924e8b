//! Where the requests go.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Longest wait for a connection.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// An address to which HTTP/1.1 requests can be sent.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    authority: String,
    host: String,
    port: u16,
    prefix: String,
    tls: Option<TlsConnector>,
}

/// A connection as hyper wants it. One call through a pointer per read is nothing beside the read.
pub(crate) trait Stream: Read + Write + Unpin {}
impl<T: Read + Write + Unpin> Stream for T {}

impl Endpoint {
    /// Reads `http://host[:port][/prefix]` or the same with https.
    ///
    /// # Errors
    /// It is something else. One sentence, with its cure.
    pub fn parse(url: &str) -> Result<Endpoint, String> {
        let uri: Uri = url.parse().map_err(|error| {
            format!("the endpoint '{url}' is not an address ({error}); give one like http://127.0.0.1:9000")
        })?;
        let (is_tls, authority) = match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => (false, authority),
            (Some("https"), Some(authority)) => (true, authority),
            _ => return Err(format!("the endpoint '{url}' is not complete; give one like http://127.0.0.1:9000")),
        };
        Ok(Endpoint {
            url: url.trim_end_matches('/').to_owned(),
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls: is_tls.then(connector).transpose()?,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `Host` of its requests.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What every path begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether it is on this machine, going by its name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The region in the name of an endpoint of AWS: such want signed requests.
    #[must_use]
    pub fn aws_region(&self) -> Option<&str> {
        let region = self.host.strip_suffix(".amazonaws.com")?.split('.').next_back()?;
        Some(region)
    }

    /// The first of its addresses where somebody listens. Asked for once, before the load: names are not what is measured.
    pub(crate) async fn find(&self) -> io::Result<SocketAddr> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            match self.dial(address).await {
                Ok(_) => return Ok(address),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// A new connection.
    pub(crate) async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let dialled = tokio::time::timeout(DIAL_TIMEOUT, self.dial_patiently(address)).await;
        dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn dial_patiently(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(TokioIo::new(socket))) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TokioIo::new(tls.connect(name, socket).await?)))
    }
}

/// Trusts whom this host trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise).
fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this host has no certificates to trust; install ca-certificates, or set SSL_CERT_FILE".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used ({error})"))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let parts = |url: &str| {
            let endpoint = Endpoint::parse(url)?;
            Ok::<_, String>((endpoint.host.clone(), endpoint.port, endpoint.prefix.clone(), endpoint.scheme()))
        };
        assert_eq!(parts("http://h/x/"), Ok(("h".into(), 80, "/x".into(), "http")));
        assert_eq!(parts("http://[::1]:9000"), Ok(("::1".into(), 9000, String::new(), "http")));
        for url in ["h:9000", "ftp://h", "a b", "http://"] {
            assert!(parts(url).is_err(), "{url}");
        }
    }

    #[test]
    fn regions_of_aws() {
        let region =
            |url: &str| Endpoint::parse(url).expect("an endpoint").aws_region().map(std::borrow::ToOwned::to_owned);
        assert_eq!(region("http://lambda.eu-west-1.amazonaws.com"), Some("eu-west-1".into()));
        assert_eq!(region("http://127.0.0.1:9000"), None);
    }
}
