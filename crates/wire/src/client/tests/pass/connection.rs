//! What becomes of the connection: used again, closed, or replaced under a request that loses nothing by it.

use super::*;
use crate::client::pass::exchange;
use crate::client::sending::Sending;

#[tokio::test]
async fn a_reply_before_the_body_ends_the_sending() {
    let (listener, client) = node().await;
    let (feed, body) = fed(None);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno")
            .await
            .unwrap();
        // Nobody takes the body any more.
        feed.closed().await;
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let call = async {
        let reply = client.pass(post_of(body), Pass::default()).await.unwrap();
        assert_eq!(reply.status, 401);
        assert_eq!(whole(reply).await, "no");
        assert_eq!(client.shared.pool.len(), 0);
    };
    during(call, script).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_or_not_read_to_its_end_costs_its_connection() {
    let (listener, client) = node().await;
    for body_begun in [false, true] {
        let (feed, body) = fed(None);
        let call = client.pass(post_of(body), Pass::default());
        let script = async {
            let mut stream = accept(&listener).await;
            read_until(&mut stream, HEAD_END).await;
            if body_begun {
                feed.send(Ok("hello".into())).await.unwrap();
                read_until(&mut stream, b"hello\r\n").await;
            }
            stream
        };
        let mut stream = tokio::select! {
            _ = call => panic!("there is no reply"),
            stream = script => stream,
        };
        assert_eq!(read_rest(&mut stream).await, b"");
        assert_eq!(client.shared.pool.len(), 0);
    }
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
        assert_eq!(read_rest(&mut stream).await, b"");
    };
    let call = async {
        let mut reply = client.pass(get(), Pass::default()).await.unwrap();
        assert_eq!(reply.body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    };
    during(call, script).await;
    assert_eq!(client.shared.pool.len(), 0);
}

#[tokio::test]
async fn nothing_of_a_body_is_lost_to_a_connection_that_was_closed_in_the_pool() {
    let (listener, client) = node().await;
    let endpoint = &client.shared.endpoint;
    let mut dead = Link::connect(endpoint).await.ok().unwrap();
    // Reset, not just closed: nothing can be written any more.
    accept(&listener).await.set_zero_linger().unwrap();
    while dead.is_ready() {
        tokio::task::yield_now().await;
    }
    let (feed, body) = fed(None);
    feed.try_send(Ok("hello".into())).unwrap();
    let limits = Pass::default();
    let mut sending = Sending::prepare(endpoint, post_of(body), limits.body_limit).await.unwrap();
    let failed = exchange(&mut dead, &mut sending, &limits).await.err().unwrap();
    assert_eq!(kind(&failed.error), (Fault::Reset, Delivered::No));
    assert!(failed.untouched);
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, b"5\r\nhello\r\n").await;
        drop(feed);
        read_until(&mut stream, b"0\r\n\r\n").await;
        stream.write_all(OK).await.unwrap();
        stream
    };
    let again = async {
        let mut link = Link::connect(endpoint).await.ok().unwrap();
        assert_eq!(exchange(&mut link, &mut sending, &limits).await.ok().unwrap().status, 200);
    };
    during(again, script).await;
}

#[tokio::test]
async fn a_reused_connection_that_dies_under_a_request_is_not_replaced() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(OK).await.unwrap();
        read_until(&mut stream, HEAD_END).await;
        drop(stream);
        // Had it been sent again it would come first.
        let mut stream = accept(&listener).await;
        assert!(read_until(&mut stream, HEAD_END).await.starts_with("GET /third "));
        stream.write_all(OK).await.unwrap();
        stream
    };
    let calls = async {
        whole(client.pass(get(), Pass::default()).await.unwrap()).await;
        let error = client.pass(get(), Pass::default()).await.unwrap_err();
        assert_eq!(kind(&error), (Fault::Reset, Delivered::Maybe));
        let third = Request::get("/third").body(Empty::new()).unwrap();
        client.pass(third, Pass::default()).await.unwrap();
    };
    during(calls, script).await;
}
