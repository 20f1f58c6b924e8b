//! Requests of a target, made once and sent many times, signed if there are credentials.
//!
//! A signature of AWS (version 4) covers a date with seconds, the path and the body, and is good for five minutes; a request has
//! nothing else that changes. So a target's signature is made anew once a minute, and costs the sender only its bytes otherwise.

use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use crate::{endpoint::Endpoint, target::Target};

/// Age at which a signature is made anew.
const SIGNATURE_AGE: Duration = Duration::from_secs(60);

/// Who signs, and for which region.
#[derive(Clone)]
pub struct Credentials {
    keys: Keys,
    region: String,
}

impl Credentials {
    /// Of these keys.
    #[must_use]
    pub fn new(access_key: String, secret_key: String, session_token: Option<String>, region: String) -> Credentials {
        Credentials { keys: Keys::new(access_key, secret_key, session_token, None, "environment"), region }
    }
}

/// The request of one target.
pub(crate) struct Prepared {
    uri: Uri,
    /// What is signed: the address as a whole.
    url: String,
    headers: HeaderMap,
    body: Bytes,
    credentials: Option<Credentials>,
    signed: Option<Instant>,
}

impl Prepared {
    pub(crate) fn new(
        endpoint: &Endpoint,
        target: &Target,
        credentials: Option<Credentials>,
    ) -> Result<Prepared, String> {
        let path = format!("{}{}", endpoint.prefix(), target.path());
        let cannot = |error: &dyn std::fmt::Display| format!("'{}' cannot be asked for ({error})", target.function);
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(endpoint.authority()).map_err(|error| cannot(&error))?;
        headers.insert(header::HOST, host);
        let agent = HeaderValue::from_static(concat!("mayfly-load/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        Ok(Prepared {
            uri: path.parse().map_err(|error| cannot(&error))?,
            url: format!("{}://{}{path}", endpoint.scheme(), endpoint.authority()),
            headers,
            body: target.event.clone(),
            credentials,
            signed: None,
        })
    }

    /// A request that can be sent now.
    pub(crate) fn request(&mut self) -> Result<Request<Full<Bytes>>, String> {
        if let Some(credentials) = &self.credentials
            && self.signed.is_none_or(|signed| signed.elapsed() > SIGNATURE_AGE)
        {
            let signature = signature(credentials, &self.url, &self.headers, &self.body, SystemTime::now())
                .map_err(|error| format!("a request cannot be signed ({error})"))?;
            self.headers.extend(signature);
            self.signed = Some(Instant::now());
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

type Problem = Box<dyn std::error::Error>;

/// The headers that sign a request for a moment.
fn signature(
    credentials: &Credentials,
    url: &str,
    headers: &HeaderMap,
    body: &[u8],
    time: SystemTime,
) -> Result<HeaderMap, Problem> {
    let identity = credentials.keys.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&credentials.region)
        .name("lambda")
        .time(time)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let signable = SignableRequest::new("POST", url, std::iter::once(("host", host)), SignableBody::Bytes(body))?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    let mut signature = HeaderMap::new();
    for (name, value) in instructions.headers() {
        signature.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials::new("AKIDEXAMPLE".into(), "SECRET".into(), Some("TOKEN".into()), "us-east-1".into())
    }

    /// From botocore 1.43.11: `SigV4Auth(Credentials("AKIDEXAMPLE", "SECRET", "TOKEN"), "lambda", "us-east-1")` with its clock at that second.
    #[test]
    fn the_signature_is_that_of_botocore() {
        let target = Target { qualifier: Some("$LATEST".into()), ..Target::new("a:b") };
        let endpoint = Endpoint::parse("http://lambda.us-east-1.amazonaws.com").expect("an endpoint");
        let prepared = Prepared::new(&endpoint, &target, None).expect("prepared");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        let headers = signature(&credentials(), &prepared.url, &prepared.headers, b"{}", time).expect("signed");
        assert_eq!(headers["x-amz-date"], "20260131T120000Z");
        assert_eq!(headers["x-amz-security-token"], "TOKEN");
        assert_eq!(
            headers["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/us-east-1/lambda/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, \
             Signature=2897e728f08918be49504114f455bc9fcd261873ba4da58715855390f792243e"
        );
    }

    #[test]
    fn a_request_is_signed_once_and_sent_often() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/x").expect("an endpoint");
        let mut prepared = Prepared::new(&endpoint, &Target::new("f"), Some(credentials())).expect("prepared");
        let [first, second] = [(); 2].map(|()| prepared.request().expect("a request"));
        assert_eq!(first.uri(), "/x/2015-03-31/functions/f/invocations");
        assert!(first.headers()["authorization"].to_str().expect("text").starts_with("AWS4-HMAC-SHA256 "));
        assert_eq!(first.headers(), second.headers());
    }
}
