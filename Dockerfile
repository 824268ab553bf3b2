# The images for those who have a docker daemon: docker build --target api-gateway -t bodega/api-gateway:0.1.0 .
# The same files and settings as those of `make images`, which needs no daemon and gives the same bytes each time.
FROM debian:12@sha256:9344f8b8992482f80cba753f323adeaf17690076c095ccff6cc9536be98185dc AS build
RUN apt-get update && apt-get install -y --no-install-recommends make
WORKDIR /src
# The packages and the libraries from source are a layer of their own: they take long, and change seldom.
COPY Makefile ./
COPY libcommon/VERSION libcommon/
COPY libcommon/third-party libcommon/third-party
RUN make build/third-party/.done
COPY . .
RUN make image-roots

FROM scratch AS bodega
ARG VERSION=0.1.0
ARG REVISION
ARG CREATED
ARG IMAGE_SOURCE
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.source=$IMAGE_SOURCE \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.created=$CREATED
USER 65532:65532
WORKDIR /
EXPOSE 9464

FROM bodega AS api-gateway
COPY --from=build /src/build/images/root/api-gateway/ /
LABEL org.opencontainers.image.title=api-gateway \
      org.opencontainers.image.description="The shop's HTTP API."
EXPOSE 8080
ENTRYPOINT ["/api-gateway"]

FROM bodega AS user-service
COPY --from=build /src/build/images/root/user-service/ /
LABEL org.opencontainers.image.title=user-service \
      org.opencontainers.image.description="Keeps the shop's users."
EXPOSE 50051
ENTRYPOINT ["/user-service"]

FROM bodega AS order-service
COPY --from=build /src/build/images/root/order-service/ /
LABEL org.opencontainers.image.title=order-service \
      org.opencontainers.image.description="Takes orders and tells the streams about them."
EXPOSE 50052
ENTRYPOINT ["/order-service"]

FROM bodega AS inventory-service
COPY --from=build /src/build/images/root/inventory-service/ /
LABEL org.opencontainers.image.title=inventory-service \
      org.opencontainers.image.description="Keeps the stock and what orders have taken from it."
EXPOSE 50053
ENTRYPOINT ["/inventory-service"]

# The operator is of Go, and wants a newer one than Debian 12's.
FROM golang:1.26-bookworm AS operator-build
WORKDIR /src/deploy/k8s/operator
COPY deploy/k8s/operator/go.mod deploy/k8s/operator/go.sum ./
RUN go mod download
WORKDIR /src
COPY . .
RUN make operator-root

FROM bodega AS operator
COPY --from=operator-build /src/build/images/root/operator/ /
LABEL org.opencontainers.image.title=operator \
      org.opencontainers.image.description="Makes a Helm release of each resource Bodega."
EXPOSE 8080 8081
ENTRYPOINT ["/operator"]
