use super::*;

fn kind(error: &CallError) -> (Fault, Delivered) {
    (error.fault, error.delivered)
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, client) = node().await;
    drop(listener);
    let error = post(&client).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Refused, Delivered::No));
    assert_eq!(error.to_string(), "connection refused");
}

#[tokio::test]
async fn no_way_there() {
    let url = Url::parse("http://user:hunter2@255.255.255.255:9/key").unwrap();
    let client = Client::new(&url, Options::default()).unwrap();
    let error = post(&client).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Unreachable, Delivered::No));
    assert!(!error.to_string().contains("255.255"), "{error}");
}

#[tokio::test]
async fn a_limit_on_connecting_is_kept() {
    // The TCP connection stands, but the node never shakes hands.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let options = Options { connect_timeout: Duration::from_millis(50), ..Options::default() };
    // A system without root certificates is told so when the client is made.
    let Ok(client) = Client::new(&Url::parse(&url).unwrap(), options) else { return };
    let error = during(post(&client), accept(&listener)).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Timeout, Delivered::No));
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
        assert!(read_request(&mut stream).await.is_none(), "a request came");
    };
    let calls = async {
        post(&client).await.unwrap();
        let error = client.post(Bytes::new(), None, Instant::now()).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Timeout, Delivered::No));
        drop(client);
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_node_that_hangs_times_out_and_loses_its_connection() {
    for reply_begun in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"] {
        let (listener, client) = node().await;
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply_begun).await.unwrap();
            assert!(read_request(&mut stream).await.is_none(), "the connection was kept");
        };
        let deadline = Instant::now() + Duration::from_millis(150);
        let call = client.post(Bytes::from_static(b"{}"), None, deadline);
        let error = during(call, script).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Timeout, Delivered::Maybe));
        assert!(error.to_string().starts_with("timed out after 0."), "{error}");
        assert_eq!(client.shared.pool.len(), 0);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let (listener, client) = node().await;
    let call = tokio::spawn(async move { post(&client).await.map(|_| ()) });
    let mut stream = accept(&listener).await;
    read_request(&mut stream).await.unwrap();
    call.abort();
    assert!(read_request(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_reused_connection_that_dies_after_the_request_is_not_retried() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
        read_request(&mut stream).await.unwrap();
        drop(stream);
        // Had the second request been sent again it would come first.
        let mut stream = accept(&listener).await;
        let (_, body) = read_request(&mut stream).await.unwrap();
        assert_eq!(body, b"third");
        stream.write_all(OK).await.unwrap();
    };
    let calls = async {
        post(&client).await.unwrap();
        let error = post(&client).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Reset, Delivered::Maybe));
        assert_eq!(error.to_string(), "connection reset");
        client.post(Bytes::from_static(b"third"), None, soon()).await.unwrap();
    };
    during(calls, script).await;
}

fn twice(body: &'static [u8]) -> Request<Bytes> {
    Request::post("/twice").body(Bytes::from_static(body)).unwrap()
}

/// Both of two kept connections break once a request is there, as they do where a server was restarted and nobody has looked since.
#[tokio::test]
async fn what_may_be_done_twice_is_tried_again_at_once_where_a_kept_connection_breaks() {
    let (listener, client) = node().await;
    let script = async {
        let mut kept = [accept(&listener).await, accept(&listener).await];
        for stream in &mut kept {
            read_request(stream).await.unwrap();
        }
        for stream in &mut kept {
            stream.write_all(OK).await.unwrap();
        }
        // The newest is taken first, whichever that is.
        let [one, other] = &mut kept;
        tokio::select! {
            asked = read_request(one) => asked,
            asked = read_request(other) => asked,
        }
        .unwrap();
        drop(kept);
        let mut stream = accept(&listener).await;
        let (_, body) = read_request(&mut stream).await.unwrap();
        assert_eq!(body, b"second");
        stream.write_all(OK).await.unwrap();
        stream
    };
    let calls = async {
        let (one, other) = tokio::join!(post(&client), post(&client));
        one.and(other).unwrap();
        let reply = client.send_again(twice(b"second"), Again::IfItBreaks, soon()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
    };
    during(calls, script).await;
}

#[tokio::test]
async fn what_breaks_on_a_fresh_connection_or_is_no_reply_is_not_tried_again() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.unwrap();
        drop(stream);
        let mut stream = accept(&listener).await;
        assert_eq!(read_request(&mut stream).await.unwrap().1, b"second");
        stream.write_all(OK).await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"what?\r\n\r\n").await.unwrap();
        let mut stream = accept(&listener).await;
        assert_eq!(read_request(&mut stream).await.unwrap().1, b"fourth");
        stream.write_all(OK).await.unwrap();
    };
    let calls = async {
        let send = async |body| client.send_again(twice(body), Again::IfItBreaks, soon()).await;
        assert_eq!(kind(&send(b"first").await.unwrap_err()), (Fault::Reset, Delivered::Maybe));
        send(b"second").await.unwrap();
        assert_eq!(send(b"third").await.unwrap_err().fault, Fault::Protocol);
        send(b"fourth").await.unwrap();
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_fresh_connection_is_fresh_and_kept() {
    let (listener, client) = node().await;
    let script = async {
        let mut older = accept(&listener).await;
        read_request(&mut older).await.unwrap();
        older.write_all(OK).await.unwrap();
        let mut newest = accept(&listener).await;
        for _ in 0..2 {
            read_request(&mut newest).await.unwrap();
            newest.write_all(OK).await.unwrap();
        }
        (older, newest)
    };
    let calls = async {
        post(&client).await.unwrap();
        client.send_again(twice(b"{}"), Again::Fresh, soon()).await.unwrap();
        assert_eq!(client.shared.pool.len(), 2);
        post(&client).await.unwrap();
    };
    during(calls, script).await;
}

#[tokio::test]
async fn a_request_of_which_nothing_could_be_written_is_safe_to_send_again() {
    let (listener, client) = node().await;
    let mut link = Link::connect(&client.shared.endpoint).await.ok().unwrap();
    // Reset, not just closed: nothing can be written any more.
    accept(&listener).await.set_zero_linger().unwrap();
    while link.is_ready() {
        tokio::task::yield_now().await;
    }
    let request = Outgoing::json(&client.shared.endpoint, Bytes::from_static(b"{}"), None);
    let failed = link.begin(&request).await.err().unwrap();
    assert_eq!(kind(&failed.error), (Fault::Reset, Delivered::No));
    assert!(failed.untouched);
}

/// tokio gives a task a share of each turn; what it asks of a socket after that is "not ready", whatever is there.
#[tokio::test]
async fn a_task_that_has_had_its_turn_still_sees_that_a_connection_is_dead() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
        stream
    };
    // Closed only when the call has ended: what is closed before isn't kept.
    let (reply, stream) = tokio::join!(post(&client), script);
    reply.unwrap();
    let pool = &client.shared.pool;
    assert_eq!(pool.len(), 1);
    drop(stream);
    // The runtime looks after so many turns.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let in_one_turn = std::future::poll_fn(|cx| {
        while std::pin::pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        std::task::Poll::Ready(pool.take(Instant::now()).is_none())
    });
    assert!(in_one_turn.await, "a dead connection was taken for a good one");
}

/// Such as "408 Request Timeout" just as an idle connection is taken: no reply to what wasn't sent.
#[tokio::test]
async fn what_came_before_a_byte_of_the_request_was_written_is_no_reply() {
    let (listener, client) = node().await;
    let request = Outgoing::json(&client.shared.endpoint, Bytes::from_static(b"{}"), None);
    for _ in 0..100 {
        let mut link = Link::connect(&client.shared.endpoint).await.ok().unwrap();
        let mut stream = accept(&listener).await;
        stream.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
        // The reset may be seen by the first write or only after it; in the second case it looks like a reply.
        if let Err(failed) = link.begin(&request).await {
            assert_eq!((kind(&failed.error), failed.untouched), ((Fault::Reset, Delivered::No), true));
            return;
        }
    }
    panic!("408 was taken for a reply to a request that never left");
}

#[tokio::test]
async fn a_reply_that_comes_before_the_request_has_left_is_heard() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream
    };
    let call = client.post(vec![0; 50_000_000].into(), None, soon());
    let reply = during(call, script).await.unwrap();
    assert_eq!(reply.status, 413);
    // What was left of the request would have been taken for another one.
    assert_eq!(client.shared.pool.len(), 0);
}

#[tokio::test]
async fn a_token_that_would_add_header_lines_is_refused() {
    let (_listener, client) = node().await;
    let error = client.post(Bytes::new(), Some("a\r\nb: c"), soon()).await.unwrap_err();
    assert_eq!(kind(&error), (Fault::Protocol, Delivered::No));
}

#[tokio::test]
async fn a_reply_cut_short_is_a_reset() {
    for reply in [&b"HTTP/1.1 200 OK\r\nco"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"] {
        let (listener, client) = node().await;
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply).await.unwrap();
        };
        let error = during(post(&client), script).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Reset, Delivered::Maybe));
    }
}

#[tokio::test]
async fn a_reply_too_large_is_refused_and_its_connection_closed() {
    for reply in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client_with(&listener, Options { max_reply: 10, ..Options::default() });
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply).await.unwrap();
            assert!(read_request(&mut stream).await.is_none());
        };
        let error = during(post(&client), script).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::TooLarge, Delivered::Maybe));
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for reply in
        [&b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]
    {
        let (listener, client) = node().await;
        let script = async {
            let mut stream = accept(&listener).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply).await.unwrap();
            assert!(read_request(&mut stream).await.is_none());
        };
        let error = during(post(&client), script).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Protocol, Delivered::Maybe));
    }
}

#[tokio::test]
async fn a_node_that_speaks_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    // A system without root certificates is told so when the client is made.
    let Ok(client) = Client::new(&Url::parse(&url).unwrap(), Options::default()) else { return };
    let script = async {
        let mut stream = accept(&listener).await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let error = during(post(&client), script).await.unwrap_err();
    assert!(matches!(kind(&error), (Fault::Tls(_), Delivered::No)), "{error}");
}
