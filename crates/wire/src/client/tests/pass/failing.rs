//! Whoever fails is told apart: the caller whose body does not come, or the node.

use super::*;

#[tokio::test]
async fn a_body_that_breaks_off_is_its_senders_fault() {
    let broken = || Err(io::Error::other("on purpose"));
    // Before anything was sent: the node isn't bothered.
    for (length, frames) in
        [(None, vec![broken()]), (Some(5), vec![Ok("he".into()), broken()]), (Some(5), vec![Ok("he".into())])]
    {
        let (listener, client) = node().await;
        drop(listener);
        let (feed, body) = fed(length);
        for frame in frames {
            feed.try_send(frame).unwrap();
        }
        drop(feed);
        let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Caller, Delivered::No));
        assert_eq!(error.to_string(), "the request's body did not come whole: it broke off");
    }
    // Afterwards: the node sees a request that isn't whole.
    for length in [None, Some(100_000)] {
        for end in [Some(broken()), None] {
            if length.is_none() && end.is_none() {
                continue;
            }
            let (listener, client) = node().await;
            let (feed, body) = fed(length);
            let script = async {
                let mut stream = accept(&listener).await;
                read_until(&mut stream, HEAD_END).await;
                feed.send(Ok("hello".into())).await.unwrap();
                read_until(&mut stream, b"hello").await;
                if let Some(end) = end {
                    feed.send(end).await.unwrap();
                }
                drop(feed);
                assert!(!read_rest(&mut stream).await.ends_with(b"0\r\n\r\n"));
            };
            let error = during(client.pass(post_of(body), Pass::default()), script).await.unwrap_err();
            assert_eq!(kind(&error), (Fault::Caller, Delivered::Maybe));
            assert_eq!(client.shared.pool.len(), 0);
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_its_senders_fault() {
    // A short one is waited for before the node hears of it.
    let (listener, client) = node().await;
    let (feed, body) = fed(Some(5));
    tokio::time::pause();
    let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Caller, Delivered::No));
    assert_eq!(error.to_string(), "the request's body did not come whole: it stalled");
    tokio::time::resume();
    drop(feed);

    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        feed.send(Ok("hello".into())).await.unwrap();
        read_until(&mut stream, b"hello\r\n").await;
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let started = Instant::now();
    let error = during(client.pass(post_of(body), Pass::default()), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Caller, Delivered::Maybe));
    assert!(started.elapsed() >= crate::body::STALL);
}

#[tokio::test]
async fn a_body_too_large_is_refused_while_it_is_read() {
    let limits = Pass { body_limit: 100_000, ..Pass::default() };
    let (listener, client) = node().await;
    // Announced, or in hand before the first byte is sent: the node hears nothing of it.
    let (_feed, announced) = fed(Some(100_001));
    for body in [announced.boxed(), Full::from(vec![0; 100_001]).map_err(|never| match never {}).boxed()] {
        let error = client.pass(post_of(body), limits).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::CallerTooLarge, Delivered::No));
        assert_eq!(error.to_string(), "request too large");
    }
    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        feed.send(Ok(vec![b'x'; 100_000].into())).await.unwrap();
        // All that is allowed.
        let mut rest = vec![0; "186a0\r\n".len() + 100_000 + "\r\n".len()];
        stream.read_exact(&mut rest).await.unwrap();
        feed.send(Ok("x".into())).await.unwrap();
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let error = during(client.pass(post_of(body), limits), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::CallerTooLarge, Delivered::Maybe));
}

#[tokio::test]
async fn a_node_that_takes_in_nothing_times_out_and_no_more_is_read_than_fits() {
    let (listener, client) = node().await;
    let taken = Arc::new(AtomicU64::new(0));
    let body = Counted { left: LARGE, taken: taken.clone() };
    let limits = Pass { write_stall: Duration::from_millis(200), ..Pass::default() };
    let error = during(client.pass(post_of(body), limits), accept(&listener)).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Timeout, Delivered::Maybe));
    assert!(error.to_string().contains("takes in nothing"), "{error}");
    // What the sockets hold, and a piece.
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < LARGE as u64 / 2, "{taken}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_times_out_or_is_waited_for() {
    let hour = Duration::from_secs(3600);
    let (listener, client) = node().await;
    let limits = Pass { head_within: Some(hour), ..Pass::default() };
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let error = during(client.pass(get(), limits), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Timeout, Delivered::Maybe));
    assert_eq!(error.to_string(), "timed out after 3600.0 s (waiting for the reply)");

    // An event stream.
    let limits = Pass { head_within: None, read_stall: None, ..Pass::default() };
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        for part in ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "2\r\na\n\r\n", "0\r\n\r\n"] {
            tokio::time::pause();
            tokio::time::sleep(5 * hour).await;
            tokio::time::resume();
            stream.write_all(part.as_bytes()).await.unwrap();
        }
        stream
    };
    let call = async {
        let reply = client.pass(get(), limits).await.unwrap();
        assert_eq!(whole(reply).await, "a\n");
    };
    during(call, script).await;
    assert_eq!(client.shared.pool.len(), 1);

    // Not one.
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
        tokio::time::pause();
        assert_eq!(read_rest(&mut stream).await, b"");
        tokio::time::resume();
    };
    let call = async {
        // The one from before would be used.
        drop(client.shared.pool.take(Instant::now()));
        let reply = client.pass(get(), Pass::default()).await.unwrap();
        reply.body.collect().await.unwrap_err()
    };
    assert_eq!(during(call, script).await.fault, Fault::Timeout);
}

#[tokio::test]
async fn nobody_listens_or_no_http() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap();
        stream
    };
    let error = during(client.pass(get(), Pass::default()), script).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Protocol, Delivered::Maybe));
    drop(listener);
    let (_feed, body) = fed(None);
    let error = client.pass(post_of(body), Pass::default()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Refused, Delivered::No));
}
