// Lodestar 1.5.1 can't say who it is in its tokens, as later ones do with --jwtId. With TOKEN_ID in its environment it can.
"use strict";

const id = process.env.TOKEN_ID;
// Its worker threads, which sign nothing, run this too.
if (id && require("node:worker_threads").isMainThread) {
  const jwt = require("node:module").createRequire(process.argv[1])("jwt-simple");
  const encode = jwt.encode;
  jwt.encode = (claims, ...others) => encode({ ...claims, id }, ...others);
}
