/* --ready: asks the service that runs here by its admin port, as an image without shell and curl needs it for its
 * health check. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "service/internal.h"

enum { PROBE_MAX_MS = 3000 };

static CURLcode ask(CURL *curl, const char *listen, FILE *answer, long *out_status)
{
    char url[300];
    snprintf(url, sizeof url, "http://%s%s/readyz", listen[0] == ':' ? "localhost" : "", listen);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PROBE_MAX_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, out_status);
    return code;
}

bool probe_ready(const struct service *service, const struct service_settings *settings)
{
    char *text = NULL;
    size_t bytes;
    long status = 0;
    FILE *answer = open_memstream(&text, &bytes);
    CURL *curl = answer ? curl_easy_init() : NULL;
    CURLcode code = curl ? ask(curl, settings->admin_listen, answer, &status) : CURLE_FAILED_INIT;
    curl_easy_cleanup(curl);
    if (answer)
        fclose(answer);
    if (code)
        printf("%s: %s does not answer: %s\n", service->name, settings->admin_listen, curl_easy_strerror(code));
    else
        printf("%s: %s\n", service->name, status == 200 ? "ready" : text);
    free(text);
    return !code && status == 200;
}
