/* A charge point or a central system of gSOAP, which many charge points are made with. What it sends and reads is
 * generated from our service descriptions (ns1 is CentralSystemService, ns2 ChargePointService), as are its
 * actions.h; WS-Addressing is gSOAP's own plugin. It holds what it reads against the types of the descriptions.
 *
 *   peer charge_point      peer central_system
 *
 * A test tells it what to do by lines of fields with a tab between them, and reads such lines. A body is one
 * element, as in the envelope:
 *
 *   ask ADDRESS IDENTITY ACTION BODY    answered BODY, refused CODE SUBCODE REASON, or unanswered REASON
 *   tell BODY                           answer this from now on: told
 *   refuse CODE SUBCODE REASON          refuse from now on, as Sender or Receiver: told
 *
 *   ready PORT      received IDENTITY FROM ACTION BODY      problem TEXT
 *
 * It ends when its input does, and in any case after LIFE seconds.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "soapH.h"
#include "wsaapi.h"

#include "CentralSystemServiceSoap.nsmap"

enum { LIFE = 120, PATIENCE = 10 }; /* seconds */

static int is_charge_point;
static char own_address[64];

/* --- Lines ------------------------------------------------------------------------------------------------ */

static void write_field(const char *text) {
    for (; *text; text++) {
        if (*text == '\n') fputs("&#10;", stdout);
        else if (*text == '\r') fputs("&#13;", stdout);
        else if (*text == '\t') fputs("&#9;", stdout);
        else putchar(*text);
    }
}

/* Write one line of a word and *count* fields; one that is absent is written as an empty text. */
static void say(int count, const char *word, ...) {
    va_list fields;
    va_start(fields, word);
    fputs(word, stdout);
    while (count-- > 0) {
        const char *field = va_arg(fields, const char *);
        putchar('\t');
        write_field(field ? field : "");
    }
    putchar('\n');
    fflush(stdout);
    va_end(fields);
}

static char *next_field(char **rest) {
    char *field = strsep(rest, "\t");
    return field ? field : "";
}

/* --- Bodies ----------------------------------------------------------------------------------------------- */

static char told_body[65536];
static struct { char code[16], subcode[32], reason[256]; } told_refusal;

static struct soap *new_soap(void) {
    struct soap *soap = soap_new1(SOAP_C_UTFSTRING | SOAP_XML_STRICT);
    soap_register_plugin(soap, soap_wsa);
    soap->connect_timeout = soap->send_timeout = soap->recv_timeout = PATIENCE;
    return soap;
}

static const char *fault_text(struct soap *soap) {
    static char text[1024];
    soap_sprint_fault(soap, text, sizeof text);
    return text;
}

/* Functions that read TYPE from a text whose element is TAG, and write it as one. Both keep what they make in
 * the context that they are given. */
#define READ_AND_WRITE(TYPE, TAG) \
    static int read_##TYPE(struct soap *soap, const char *text, struct TYPE *value) { \
        soap->is = text; \
        soap_default_##TYPE(soap, value); \
        if (!soap_begin_recv(soap) && soap_get_##TYPE(soap, value, TAG, NULL)) soap_end_recv(soap); \
        soap->is = NULL; \
        return soap->error; \
    } \
    static const char *written_##TYPE(const struct TYPE *value) { \
        static struct soap *writer; \
        const char *text = ""; \
        if (!writer) writer = new_soap(); \
        soap_set_omode(writer, SOAP_XML_CANONICAL); /* no declaration, and only the namespaces in use */ \
        soap_destroy(writer); \
        soap_end(writer); \
        writer->os = &text; \
        soap_serialize_##TYPE(writer, value); \
        if (soap_begin_send(writer) || soap_put_##TYPE(writer, value, TAG, "") || soap_end_send(writer)) \
            say(1, "problem", fault_text(writer)); \
        return text; \
    }

/* --- Asking ----------------------------------------------------------------------------------------------- */

static void name_the_addressee(struct soap *soap, const char *address, const char *identity, const char *action) {
    soap_wsa_request(soap, soap_wsa_rand_uuid(soap), address, action);
    soap_wsa_add_From(soap, own_address);
    soap_wsa_add_ReplyTo(soap, soap_wsa_anonymousURI);
    if (is_charge_point) soap->header->ns1__chargeBoxIdentity = (char *)identity;
    else soap->header->ns2__chargeBoxIdentity = (char *)identity;
}

static void report_failure(struct soap *soap) {
    if (soap->fault) {
        const char *code = *soap_faultcode(soap), *subcode = soap_fault_subcode(soap);
        say(3, "refused", code, subcode, soap_fault_string(soap));
    } else {
        say(1, "unanswered", fault_text(soap));
    }
}

/* Where a description names no action, as that of 1.2 does for what is answered, it is made of namespace, port type
 * and message (Web Services Addressing 1.0 - Metadata, 4.4.4): its end is the same. */
static void judge_answer(struct soap *soap, const char *message_id, const char *action) {
    const char *relates_to = NULL, *end;
    if (soap_wsa_check(soap)) {
        say(1, "problem", fault_text(soap));
        return;
    }
    end = strrchr(soap->header->wsa5__Action, '/');
    if (!end || strcmp(end, action)) say(1, "problem", soap->header->wsa5__Action);
    if (soap->header->wsa5__RelatesTo) relates_to = soap->header->wsa5__RelatesTo->__item;
    if (!relates_to || strcmp(relates_to, message_id)) say(1, "problem", "wsa:RelatesTo is not the message asked");
}

#define ASK(NS, ACTION, NAME) \
    static void ask_##NS##__##ACTION(struct soap *soap, const char *address, const char *identity, \
                                     const char *body) { \
        struct NS##__##ACTION##Request request; \
        struct NS##__##ACTION##Response response; \
        const char *message_id; \
        if (read_##NS##__##ACTION##Request(soap, body, &request)) { \
            say(1, "unanswered", fault_text(soap)); \
            return; \
        } \
        name_the_addressee(soap, address, identity, "/" #ACTION); \
        message_id = soap->header->wsa5__MessageID; \
        if (soap_call___##NS##__##ACTION(soap, address, "/" #ACTION, &request, &response)) { \
            report_failure(soap); \
        } else { \
            judge_answer(soap, message_id, "/" #ACTION "Response"); \
            say(1, "answered", written_##NS##__##ACTION##Response(&response)); \
        } \
    }

/* --- Answering -------------------------------------------------------------------------------------------- */

static int refuse(struct soap *soap) {
    int (*fault)(struct soap *, const char *, const char *, const char *, const char *) =
        strcmp(told_refusal.code, "Sender") ? soap_wsa_receiver_fault_subcode_action
                                            : soap_wsa_sender_fault_subcode_action;
    return fault(soap, told_refusal.subcode, told_refusal.reason, NULL, soap_wsa_faultAction);
}

static void report_call(struct soap *soap, const char *action, const char *body) {
    const char *identity = NULL, *from = NULL;
    if (soap->header) {
        identity = is_charge_point ? soap->header->ns2__chargeBoxIdentity : soap->header->ns1__chargeBoxIdentity;
        if (soap->header->wsa5__From) from = soap->header->wsa5__From->Address;
    }
    say(4, "received", identity, from, action, body);
    if (!soap->header || !soap->header->wsa5__MessageID) say(1, "problem", "no wsa:MessageID");
    if (!soap->header || !soap->header->wsa5__Action || strcmp(soap->header->wsa5__Action + 1, action))
        say(1, "problem", "wsa:Action is not the body's");
}

#define SERVE(NS, ACTION, NAME) \
    int __##NS##__##ACTION(struct soap *soap, struct NS##__##ACTION##Request *request, \
                           struct NS##__##ACTION##Response *response) { \
        report_call(soap, #ACTION, written_##NS##__##ACTION##Request(request)); \
        if (soap_wsa_check(soap)) return soap->error; \
        if (*told_refusal.code) return refuse(soap); \
        static struct soap *reader; \
        if (!reader) reader = new_soap(); \
        soap_destroy(reader); \
        soap_end(reader); \
        if (read_##NS##__##ACTION##Response(reader, told_body, response)) { \
            say(1, "problem", fault_text(reader)); \
            return soap_receiver_fault(soap, "the test told no answer to this", NULL); \
        } \
        return soap_wsa_reply(soap, soap_wsa_rand_uuid(soap), "/" #ACTION "Response"); \
    }

/* --- The actions ------------------------------------------------------------------------------------------ */

#define ALL_OF(NS, ACTION, NAME) \
    READ_AND_WRITE(NS##__##ACTION##Request, #NS ":" #NAME "Request") \
    READ_AND_WRITE(NS##__##ACTION##Response, #NS ":" #NAME "Response") \
    ASK(NS, ACTION, NAME) \
    SERVE(NS, ACTION, NAME)
#define ACTION_OF_THE_CENTRAL_SYSTEM(ACTION, NAME) ALL_OF(ns1, ACTION, NAME)
#define ACTION_OF_THE_CHARGE_POINT(ACTION, NAME) ALL_OF(ns2, ACTION, NAME)
#include "actions.h"
#undef ACTION_OF_THE_CENTRAL_SYSTEM
#undef ACTION_OF_THE_CHARGE_POINT

/* The generated code names this one as an operation; it is there for faults that come as messages. */
int SOAP_ENV__Fault(struct soap *soap, char *faultcode, char *faultstring, char *faultactor,
                    struct SOAP_ENV__Detail *detail, struct SOAP_ENV__Code *code, struct SOAP_ENV__Reason *reason,
                    char *node, char *role, struct SOAP_ENV__Detail *Detail) {
    (void)faultcode, (void)faultactor, (void)detail, (void)code, (void)reason, (void)node, (void)role, (void)Detail;
    say(1, "problem", faultstring);
    return soap_send_empty_response(soap, SOAP_OK);
}

static void ask(struct soap *soap, char *rest) {
    const char *address = next_field(&rest), *identity = next_field(&rest), *action = next_field(&rest);
    const char *body = next_field(&rest);
#define ACTION_OF_THE_CENTRAL_SYSTEM(ACTION, NAME) \
    if (is_charge_point && !strcmp(action, #ACTION)) { ask_ns1__##ACTION(soap, address, identity, body); return; }
#define ACTION_OF_THE_CHARGE_POINT(ACTION, NAME) \
    if (!is_charge_point && !strcmp(action, #ACTION)) { ask_ns2__##ACTION(soap, address, identity, body); return; }
#include "actions.h"
    say(1, "unanswered", "no such action");
}

static void obey(struct soap *soap, char *line) {
    const char *word = next_field(&line);
    if (!strcmp(word, "ask")) {
        ask(soap, line);
        soap_destroy(soap);
        soap_end(soap);
        return;
    }
    memset(&told_refusal, 0, sizeof told_refusal);
    if (!strcmp(word, "tell")) {
        snprintf(told_body, sizeof told_body, "%s", next_field(&line));
    } else {
        snprintf(told_refusal.code, sizeof told_refusal.code, "%s", next_field(&line));
        snprintf(told_refusal.subcode, sizeof told_refusal.subcode, "%s", next_field(&line));
        snprintf(told_refusal.reason, sizeof told_refusal.reason, "%s", next_field(&line));
    }
    say(0, "told");
}

int main(int count, char **arguments) {
    struct soap *server = new_soap(), *client = new_soap();
    struct sockaddr_in bound;
    socklen_t length = sizeof bound;
    struct pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {0, POLLIN, 0}};
    char *line = NULL, port[8];
    size_t size = 0;

    is_charge_point = count > 1 && !strcmp(arguments[1], "charge_point");
    alarm(LIFE);
    setvbuf(stdin, NULL, _IONBF, 0); /* or poll would not see a line that is in the buffer already */
    ready[1].fd = soap_bind(server, "127.0.0.1", 0, 20);
    if (!soap_valid_socket(server->master) || getsockname(server->master, (struct sockaddr *)&bound, &length)) {
        soap_print_fault(server, stderr);
        return 1;
    }
    snprintf(port, sizeof port, "%d", ntohs(bound.sin_port));
    snprintf(own_address, sizeof own_address, "http://127.0.0.1:%s/%s", port, arguments[1]);
    say(1, "ready", port);

    while (poll(ready, 2, -1) > 0) {
        if (ready[0].revents) {
            if (getline(&line, &size, stdin) <= 0) break;
            line[strcspn(line, "\n")] = 0;
            obey(client, line);
        }
        if (ready[1].revents && soap_valid_socket(soap_accept(server))) {
            /* What the generated dispatcher refuses before it calls one of the functions above. */
            if (soap_serve(server) && !*told_refusal.code) say(1, "problem", fault_text(server));
            soap_destroy(server);
            soap_end(server);
        }
    }
    return 0;
}
