/* Names of the semantic conventions that our instrumentation uses, version 1.44. */
#ifndef OTEL_INSTRUMENT_NAMES_H
#define OTEL_INSTRUMENT_NAMES_H

#define SEMCONV_SCHEMA_URL "https://opentelemetry.io/schemas/1.44.0"

#define ATTR_ERROR_TYPE      "error.type"
#define ATTR_SERVER_ADDRESS  "server.address"
#define ATTR_SERVER_PORT     "server.port"
#define ATTR_CLIENT_ADDRESS  "client.address"
#define ATTR_PEER_ADDRESS    "network.peer.address"
#define ATTR_PEER_PORT       "network.peer.port"
#define ATTR_USER_AGENT      "user_agent.original"
#define ATTR_HTTP_METHOD     "http.request.method"
#define ATTR_HTTP_ROUTE      "http.route"
#define ATTR_HTTP_STATUS     "http.response.status_code"
#define ATTR_URL_PATH        "url.path"
#define ATTR_URL_SCHEME      "url.scheme"
#define ATTR_RPC_SYSTEM      "rpc.system.name"
#define ATTR_RPC_METHOD      "rpc.method"
#define ATTR_RPC_STATUS      "rpc.response.status_code"
#define ATTR_DB_SYSTEM       "db.system.name"
#define ATTR_DB_NAMESPACE    "db.namespace"
#define ATTR_DB_TEXT         "db.query.text"
#define ATTR_DB_SUMMARY      "db.query.summary"
#define ATTR_DB_STATUS       "db.response.status_code"
#define ATTR_DB_ROWS         "db.response.returned_rows"
#define ATTR_MSG_SYSTEM      "messaging.system"
#define ATTR_MSG_OPERATION   "messaging.operation.name"
#define ATTR_MSG_TYPE        "messaging.operation.type"
#define ATTR_MSG_DESTINATION "messaging.destination.name"
#define ATTR_MSG_GROUP       "messaging.consumer.group.name"
#define ATTR_MSG_ID          "messaging.message.id"
#define ATTR_MSG_COUNT       "messaging.batch.message_count"

#endif
