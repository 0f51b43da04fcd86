// A dependency of Lodestar 1.5.1 calls Promise.withResolvers, which Node has only from version 22 on.
"use strict";

if (typeof Promise.withResolvers !== "function") {
  Promise.withResolvers = function withResolvers() {
    let resolve;
    let reject;
    const promise = new this((yes, no) => {
      resolve = yes;
      reject = no;
    });
    return { promise, resolve, reject };
  };
}
